"""Read what processes expose to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from support.processes import Service

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scraped:
    """The families of one answer, by name, and the sum of series."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name with these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


async def metrics_port(service: Service) -> int:
    """The port on which a supervisor or a reaper serves its metrics."""
    (serving, *_) = await service.hear("metrics.serving")
    port: int = serving["port"]
    return port


async def scrape(port: int, *, accept: str = "") -> Scraped:
    """The metrics of a process, parsed in the format that it sent."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics", headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    return parse(answer.text, answer.headers["content-type"])


def parse(text: str, content_type: str) -> Scraped:
    """The families of a text in either format."""
    if content_type.startswith("application/openmetrics-text"):
        return Scraped(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    assert content_type.startswith("text/plain; version=0.0.4")
    return Scraped(text_string_to_metric_families(text))


__all__ = ["OPENMETRICS", "Scraped", "metrics_port", "parse", "scrape"]
