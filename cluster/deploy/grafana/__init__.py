"""The Grafana dashboard, made from the table of metrics; `python -m cluster.deploy.grafana` prints `interplay.json`."""

from __future__ import annotations

from typing import Any

from actors.telemetry import METRICS, Metric

WIDTH, HEIGHT = 12, 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Ray exports a metric of an application under this prefix.
RAY_PREFIX = "ray_"


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it: one panel for each metric, two in a row, in the order of the table."""
    return {
        "uid": "interplay",
        "title": "Interplay",
        "schemaVersion": 39,
        "tags": ["interplay"],
        "timezone": "utc",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": [_panel(index, metric) for index, metric in enumerate(METRICS)],
    }


def query(metric: Metric) -> str:
    """PromQL of a panel: a counter as its rate over five minutes, a gauge as it is; one line for each label value."""
    name = RAY_PREFIX + metric.name
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    return f"sum{by} (rate({name}[5m]))" if metric.kind == "counter" else f"max{by} ({name})"


def _panel(index: int, metric: Metric) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": metric.description + (" (per second)" if metric.kind == "counter" else ""),
        "datasource": DATASOURCE,
        "gridPos": {"x": WIDTH * (index % 2), "y": HEIGHT * (index // 2), "w": WIDTH, "h": HEIGHT},
        "targets": [
            {
                "refId": "A",
                "expr": query(metric),
                "legendFormat": " ".join(f"{{{{{label}}}}}" for label in metric.labels) or metric.name,
            }
        ],
    }
