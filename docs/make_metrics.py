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
| API | `GET /metrics` on its own port, with a key of the scope `metrics` | all processes of the port |
| supervisor (`leaseq worker`) | `LEASEQ_METRICS_HOST` and `LEASEQ_METRICS_PORT` | all of its worker processes |
| reaper | the same | itself, and the cluster |

`LEASEQ_METRICS_PORT` is unset by default, and then a supervisor or a reaper listens nowhere. Each
process on a machine needs a port of its own, and `leaseq dev` ignores the setting. This address
takes no key: it shows names of queues and types, and numbers. On the loopback it answers only to
the Host of a loopback. Elsewhere, let the network admit the monitoring only.

The API answers to the hosts of `LEASEQ_API_HOSTS`, as everywhere. With `LEASEQ_API_PROCESSES` above
1 the kernel chooses one process for each connection, and that one answers for all of them: each
reports to the process that holds the port, every second and before it answers. Counters outlive a
process that ends, and a gauge is the sum, except `leaseq_store_up`, which is that of the process that
answers. If the process that holds the port does not answer, the scrape fails with 503.

The text is that of Prometheus (0.0.4), or of OpenMetrics 1.0 where `Accept` asks for it.

## Reading them

- A counter or a histogram is **of one process**: use `sum`. A gauge **of the cluster** is the same
  at each process that exposes it: use `max without (instance)`. The HELP line of each names its rule.
- A worker process reports to its supervisor every second and at its end. The supervisor keeps the
  counts of processes that have ended. A process that is killed takes its last second with it, so
  the counters are statistics, and the ledger is the truth.
- A reaper asks the stores at a scrape, at most once a second. Where a store does not answer within
  two seconds, its gauges are missing, and `leaseq_store_up` is 0 for it.
- `queue`, `type` and `limit` are the only labels with names of yours. A process counts 500 pairs of a
  queue and a type. Further types are counted as `(other)` in their queue. A reaper shows 500 limits,
  those with most waiting tasks. No label holds a tenant, a key, an id or a host.
- Histograms have the powers of two from 1 ms to 68 minutes as bounds. Those of sizes have them
  from 1 to 4,096.

```yaml
scrape_configs:
  - job_name: leaseq
    static_configs:
      - targets: ["127.0.0.1:9464", "127.0.0.1:9465"]   # supervisor, reaper
  - job_name: leaseq-api
    authorization:
      credentials_file: /etc/prometheus/leaseq-key      # leaseq keys create prometheus --scopes metrics
    static_configs:
      - targets: ["127.0.0.1:8000"]
```

`deploy/prometheus/leaseq.rules.yml` has alerts, and `deploy/grafana/leaseq.json` is a dashboard for
Grafana. Tests evaluate the alerts with promtool and compare the names in both with this page.
`LEASEQ_TEST_PROMETHEUS_SECONDS=600 pytest -s tests/e2e/test_prometheus.py` lets a Prometheus scrape a run
with kills for ten minutes, compares its counters and the [statistics](statistics.md) with the ledger,
and evaluates each query of the dashboard for Grafana on the recorded run.

## All of them

Outcomes are `succeeded`, `errored`, `timed_out`, `cancelled`, `released` and `lost`. Each process
also exposes the standard `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_start_time_seconds`, `process_open_fds` and
`process_max_fds`, with the labels `role` (`api`, `reaper`, `worker`) and `child`. The label `child` is
empty for the process itself, and a small number for a worker process of a supervisor and for one of
several API processes. When one has ended, the next one has its number. The process that holds the
port of several API processes is left out.
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
