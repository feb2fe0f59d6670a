"""Write docs/metrics.md from the catalogue of metrics.

`make generated` runs it, and a test compares the page.
"""

from __future__ import annotations

from pathlib import Path

from leaseq.metrics.catalogue import METRICS, Metric

TARGET = Path(__file__).parent / "metrics.md"

HEAD = """\
# Metrics

This page is made from `engine/leaseq/metrics/catalogue.py` by `make generated`.

| process | address | metrics of |
|---|---|---|
| supervisor (`leaseq worker`) | `http://LEASEQ_METRICS_HOST:LEASEQ_METRICS_PORT/metrics` | all of its worker processes |

`LEASEQ_METRICS_PORT` is unset by default, and then a supervisor listens nowhere. Two processes
on one machine need two ports. This address takes no key: it shows names of queues and types, and
numbers. On the loopback it answers only to the Host of a loopback. Elsewhere, let the network
admit the monitoring only.

The text is that of Prometheus (0.0.4), or of OpenMetrics 1.0 where `Accept` asks for it.

## Reading them

- A counter or a histogram is **of one process**: use `sum`. A gauge **of the cluster** is the same
  at each process that exposes it: use `max without (instance)`. The HELP line of each names its rule.
- A worker process reports to its supervisor every second and at its end. The supervisor keeps the
  counts of processes that have ended. A process that is killed takes its last second with it, so
  the counters are statistics, and the ledger is the truth.
- `queue` and `type` are the only labels with names of yours. A process counts 500 pairs of them.
  Further types are counted as `(other)` in their queue. No label holds a tenant, a key, an id or a
  host.
- Histograms have the powers of two from 1 ms to 68 minutes as bounds. Those of sizes have them
  from 1 to 4,096.

```yaml
scrape_configs:
  - job_name: leaseq
    static_configs:
      - targets: ["127.0.0.1:9464"]
```

## All of them

Outcomes are `succeeded`, `errored`, `timed_out`, `cancelled`, `released` and `lost`.
"""


def page() -> str:
    """The text of docs/metrics.md."""
    rows = "\n".join(_row(name, metric) for name, metric in METRICS.items())
    return (
        f"{HEAD}\n| name | kind | labels | exposed by | meaning |\n|---|---|---|---|---|\n{rows}\n"
    )


def _row(name: str, metric: Metric) -> str:
    kind = f"{metric.kind}, of the cluster" if metric.cluster else metric.kind
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    roles = ", ".join("supervisor" if role == "worker" else role for role in metric.roles)
    return f"| `{name}` | {kind} | {labels} | {roles} | {metric.help} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
