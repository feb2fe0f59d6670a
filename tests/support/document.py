"""The OpenAPI document of a service as the judge of its answers.

Every answer that a test receives is held against the document: its status, its media type, its
body, its headers and, for a problem, its code. Validators are compiled once for each schema of each
document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from leaseq.metrics.exposition import OPENMETRICS, PLAIN
from leaseq_api.problems import PROBLEM_JSON

# Headers that say something to a program. One of them that is not in the document is an error, too.
TELLING = (
    *("allow", "idempotent-replayed", "leaseq-deduplicated", "link", "location"),
    *("ratelimit", "ratelimit-policy", "retry-after"),
)
NDJSON = "application/x-ndjson"
# Addresses for readers, which the document leaves out.
PAGES = re.compile(
    r"/|/schema(/openapi\.json)?|/problems(/[a-z_]+)?|/docs(/[0-9a-f]{16}/[A-Za-z.-]+)?"
)
# Its errors are pages, too.
UI = re.compile(r"/ui(/|\Z)")

EVENT_STREAM = "text/event-stream"
METRICS = (PLAIN, OPENMETRICS)
STREAM_LINE = re.compile(r"(event|id|data|retry|): .*|")


class Document:
    """One document."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.paths: dict[str, Any] = content["paths"]
        self._templates = {
            template: re.compile(re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template)))
            for template in self.paths
        }
        # For requests that lead to no operation: the possible answers of any operation.
        self._anywhere: dict[str, Any] = {}
        for item in self.paths.values():
            for operation in (item.get("get", {}), item.get("post", {})):
                self._anywhere |= operation.get("responses", {})
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def check(
        self, method: str, path: str, *, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Insist that the document foresees this answer."""
        where = f"{method} {path[:200]} -> {status} {body[:1000]!r}"
        operation = self._operation(method, path)
        if UI.match(path):
            return
        if operation is None and status < 400:
            assert PAGES.fullmatch(path), f"not an address of the document: {where}"
            return
        foreseen = self._anywhere if operation is None else operation["responses"]
        assert str(status) in foreseen, f"not a status of this operation: {where}"
        response = foreseen[str(status)]
        self._check_headers(response.get("headers", {}), headers, where)
        # The content of an answer to HEAD is not sent, and its headers are those of the answer to
        # GET.
        if "content" not in response or method == "HEAD":
            assert body == b"", where
            return
        media_type = headers.get("content-type", "")
        assert media_type in response["content"], (
            f"{media_type!r} is not a media type of this answer: {where}"
        )
        if media_type == EVENT_STREAM:
            for line in body.decode().splitlines():
                assert STREAM_LINE.fullmatch(line), f"not a line of a stream of events: {line!r}"
            return
        schema = response["content"][media_type]["schema"]
        if media_type in METRICS:
            self.validate(schema, body.decode(), where)
            return
        values = body.split(b"\n")[:-1] if media_type == NDJSON else [body]
        for value in map(msgspec.json.decode, values):
            self.validate(schema, value, where)
        if media_type == PROBLEM_JSON and operation is not None:
            code = msgspec.json.decode(body)["code"]
            codes = response["description"].removeprefix("code: ").split(", ")
            assert code in codes, f"{code} is not a code of this answer, {codes}: {where}"

    def validate(self, schema: dict[str, Any], value: Any, where: str = "") -> None:
        """Insist that a value fits a schema of this document, formats included."""
        key = msgspec.json.encode(schema, order="sorted").decode()
        validator = self._validators.get(key)
        if validator is None:
            whole = schema | {"components": self.content["components"]}
            validator = self._validators[key] = jsonschema_rs.Draft202012Validator(
                whole, validate_formats=True
            )
        wrong = "; ".join(
            f"{'/'.join(map(str, e.instance_path))}: {e.message[:300]}"
            for e in validator.iter_errors(value)
        )
        assert not wrong, f"{wrong}: {where}"

    def fits(self, schema: dict[str, Any], value: Any) -> bool:
        """Whether a value fits a schema of this document."""
        try:
            self.validate(schema, value)
        except AssertionError:
            return False
        return True

    def _operation(self, method: str, path: str) -> Any:
        found: dict[str, Any] = self.paths.get(path) or next(
            (self.paths[t] for t, p in self._templates.items() if p.fullmatch(path)), {}
        )
        return found.get(method.lower())

    def _check_headers(
        self, foreseen: dict[str, Any], headers: Mapping[str, str], where: str
    ) -> None:
        by_name = {name.lower(): self._header(header) for name, header in foreseen.items()}
        for name, header in by_name.items():
            assert name in headers or not header.get("required"), (
                f"the header {name} is missing: {where}"
            )
        for name in TELLING:
            if name in headers:
                assert name in by_name, f"the header {name} is not in the document: {where}"
                self.validate(by_name[name]["schema"], headers[name], f"{name} of {where}")

    def _header(self, given: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in given:
            return given
        name = given["$ref"].removeprefix("#/components/headers/")
        header: dict[str, Any] = self.content["components"]["headers"][name]
        return header


__all__ = ["Document"]
