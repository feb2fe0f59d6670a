# leaseq: `make` lists what there is to do. Every target sets up what it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := engine api reaper chaos tests $(wildcard bench examples)
ARGS ?=

# Releases that are still common beside the ones we develop on.
COMPAT_POSTGRES ?= /usr/lib/postgresql/15/bin
COMPAT_REDIS ?= /usr/bin/redis-server

.PHONY: help setup test test-compat demo check fmt bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install leaseq into it, editable, with everything

$(READY): pyproject.toml
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "setting up $(VENV) with $$($$python --version)"; \
	        $$python -m venv --upgrade $(VENV); \
	        $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]'; \
	        touch $@; \
	        exit 0; \
	    fi; \
	done; \
	echo "leaseq needs Python 3.11 or newer with the venv module: none of python3, python3.11 to python3.14 is one" >&2; \
	exit 1

test: $(READY) ## run the tests against real servers (ARGS="-k settle")
	@$(BIN)/python -m pytest $(ARGS)

test-compat: $(READY) ## run the tests against the system's own PostgreSQL and Redis
	@found=; \
	if [ -x $(COMPAT_POSTGRES)/postgres ]; then export LEASEQ_TEST_POSTGRES_BIN=$(COMPAT_POSTGRES); found=1; \
	else echo "SKIPPED: no PostgreSQL in $(COMPAT_POSTGRES) (set COMPAT_POSTGRES)"; fi; \
	if [ -x $(COMPAT_REDIS) ]; then export LEASEQ_TEST_REDIS_SERVER=$(COMPAT_REDIS); found=1; \
	else echo "SKIPPED: no Redis at $(COMPAT_REDIS) (set COMPAT_REDIS)"; fi; \
	if [ -z "$$found" ]; then echo "SKIPPED: nothing to test against"; exit 0; fi; \
	$(BIN)/python -m pytest $(ARGS)

demo: $(READY) ## watch it work, and survive being killed
	@$(BIN)/python -m examples.demo $(ARGS)

check: $(READY) ## lint, types, floors
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY) ## format, and fix what can be fixed
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

bench: $(READY) ## measure throughput and latency on this machine
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove the environment and every cache
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +
