# leaseq: `make` lists what there is to do. Every target sets up what it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Which Python to set it up with; by default the first one that is new enough.
PYTHON ?=
CODE := engine api reaper chaos tests $(wildcard bench examples)
ARGS ?=
# Most tests wait for a process or a lease more than they compute: more of them at a time than there are processors.
JOBS ?= 6
# `make test` leaves out what is marked slow, and `make test-slow` runs nothing else. A test compares these lines.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# Tests of code that needs no process and, but for a few of tests/unit, no server.
FAST := tests/unit $(wildcard tests/chaos/test_check*.py) $(addprefix tests/chaos/test_,report_parts.py schedule.py workload.py) \
    $(addprefix tests/test_,config.py docs.py examples.py one_truth.py tidy_files.py)

# The tests start more than a thousand processes: each would compile all of leaseq, a third of what its start costs.
unexport PYTHONDONTWRITEBYTECODE

# Same seed, same faults at the same times.
SEED ?= 1
CHAOS_SHORT_MINUTES ?= 1
CHAOS_MINUTES ?= 4
# The revision that is mixed in as the old version, where the repository has it. It is told of later migrations, as if it had begun
# before them: whoever runs already goes on with a newer schema.
CHAOS_OLD ?= 16e9784
CHAOS_SCENARIOS ?= recovery processes valkey postgres failovers rogues network clocks disks deploy everything everything everything
MACHINE_EXAMPLES ?= 1000

# What the other task queues, and leaseq beside them, run on. Oban needs 3.12.
PEERS_PYTHON ?= $(BIN)/python

# Releases that are still common beside the ones we develop on.
COMPAT_POSTGRES ?= /usr/lib/postgresql/15/bin
COMPAT_REDIS ?= /usr/bin/redis-server
COMPAT_PYTHONS ?= 3.11 3.12 3.13 3.14
export COMPAT_POSTGRES COMPAT_REDIS COMPAT_PYTHONS

# What locks the dependencies and lists the components of a release. Apart from $(VENV): it brings thirty packages that no test needs.
RELEASE := $(VENV)-release
RELEASE_TOOLS := 'cyclonedx-bom>=7.5,<8' 'uv>=0.13,<0.14'
LOCK := $(RELEASE)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'

.PHONY: help setup test test-slow test-all test-fast test-compat chaos chaos-short chaos-sweep chaos-mutants demo ui check fmt bench bench-quick bench-peers generated lock build clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install leaseq into it, editable, with everything

$(READY): pyproject.toml api/leaseq-http/pyproject.toml chaos/pyproject.toml
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "setting up $(VENV) with $$($$python --version)"; \
	        $$python -m venv --upgrade $(VENV); \
	        $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]' --editable ./api/leaseq-http --editable ./chaos; \
	        touch $@; \
	        exit 0; \
	    fi; \
	done; \
	echo "leaseq needs Python 3.11 or newer with the venv module: none of python3, python3.11 to python3.14 is one" >&2; \
	exit 1

test: $(READY) ## run the tests against real servers, without the slow ones (ARGS="-k settle")
	@$(PYTEST) -m "not slow" $(ARGS)
	@echo "The tests that are marked slow did not run: make test-slow runs them, make test-all runs everything."

test-slow: $(READY) ## run the tests that make test leaves out: fleets, outages, packages
	@$(PYTEST) -m slow $(ARGS)

test-all: $(READY) ## run every test
	@$(PYTEST) $(ARGS)

test-fast: $(READY) ## run the tests that need no process of their own, in half a minute
	@LEASEQ_TEST_EXAMPLES=fast $(BIN)/python -m pytest -q $(FAST) $(ARGS)

test-compat: $(READY) ## run the tests on the system's servers, under roles, and on other Pythons
	@.ci/compat $(ARGS)

chaos-short: $(READY) ## two minutes of faults of many kinds, and a verdict
	@$(BIN)/leaseq-chaos run short --minutes $(CHAOS_SHORT_MINUTES) --seed $(SEED) $(ARGS)

chaos: $(READY) ## every fault there is for most of an hour, and the state machine at length
	@LEASEQ_TEST_MACHINE_EXAMPLES=$(MACHINE_EXAMPLES) $(BIN)/python -m pytest -q --timeout 3600 tests/chaos/test_machine.py
	@old=$$(mktemp -d); trap 'rm -rf "$$old"' EXIT; \
	if git archive $(CHAOS_OLD) engine api reaper 2>/dev/null | tar -x -C "$$old" 2>/dev/null; then mix="--old $$old"; \
	for file in engine/leaseq/ledger/migrations/*.sql; do [ -e "$$old/$$file" ] || cp "$$file" "$$old/$$file"; done; else mix=; fi; \
	$(BIN)/leaseq-chaos run $(CHAOS_SCENARIOS) --minutes $(CHAOS_MINUTES) --seed $(SEED) $$mix $(ARGS)

chaos-sweep: $(READY) ## kill, stop, fail and restart at every crash point
	@$(BIN)/leaseq-chaos sweep $(ARGS)

chaos-mutants: $(READY) ## seed bugs, and show which checker catches each
	@$(BIN)/leaseq-chaos mutants $(ARGS)

demo: $(READY) ## watch it work, and survive being killed
	@$(BIN)/python -m examples.demo $(ARGS)

ui: $(READY) ## test the dashboard in a browser, and keep screenshots (SHOTS=FOLDER)
	@LEASEQ_TEST_SHOTS=$(SHOTS) $(PYTEST) tests/ui $(ARGS)

check: $(READY) ## lint, types, floors
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY) ## format, and fix what can be fixed
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

generated: $(READY) ## write what is made from other files: the blocking HTTP client, types for TypeScript, docs/metrics.md, meanings of events
	@$(BIN)/python api/leaseq-http/make_blocking.py
	@$(BIN)/python -m examples.typescript.make_types
	@$(BIN)/python docs/make_metrics.py
	@$(BIN)/python docs/make_meanings.py

# Only the pictures need what this adds.
$(VENV)/.bench-ready: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench-ready ## measure everything on this machine: tables, pictures, a page
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.bench-ready ## a little of every measurement, to see that it works
	@$(BIN)/python -m bench --quick $(ARGS)

bench-peers: $(READY) ## the same work on other task queues, beside leaseq (ARGS="celery --runs 1")
	@$(BIN)/python -m bench.peers setup --python $(PEERS_PYTHON) || echo "What could not be installed is named again at the end." >&2
	@$(BIN)/python -m bench.peers run $(ARGS)

$(RELEASE)/.ready: $(READY) deploy/build.lock
	@$(BIN)/python -m venv $(RELEASE)
	@$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check $(RELEASE_TOOLS)
	@$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement deploy/build.lock
	@touch $@

lock: $(RELEASE)/.ready ## pin what the image installs, with hashes (ARGS=--upgrade for newer versions)
	@$(LOCK) --extra api --extra reaper --output-file deploy/requirements.lock $(ARGS) pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    | $(LOCK) --output-file deploy/build.lock $(ARGS) -

build: $(RELEASE)/.ready ## wheels and source distributions of leaseq and leaseq-http, list of components (SBOM), in dist/
	@rm -rf dist
	@$(RELEASE)/bin/python -m hatchling build
	@cd api/leaseq-http && $(CURDIR)/$(RELEASE)/bin/python -m hatchling build --directory $(CURDIR)/dist
	@PYTHONWARNINGS=ignore::UserWarning $(RELEASE)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application \
	    --output-reproducible --output-format JSON --output-file dist/leaseq.cdx.json deploy/requirements.lock

clean: ## remove the environment and every cache
	@rm -rf $(VENV) $(VENV)-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +
