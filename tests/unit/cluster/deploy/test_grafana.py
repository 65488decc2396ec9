"""The shipped dashboard is the one that the table of metrics makes."""

from __future__ import annotations

import json
from importlib import resources

from actors.telemetry import METRICS
from cluster.deploy.grafana import dashboard, query


def test_the_shipped_file_is_current() -> None:
    shipped = json.loads(
        (resources.files("cluster") / "deploy" / "grafana" / "interplay.json").read_text(encoding="utf-8")
    )
    assert shipped == dashboard(), "run: python -m cluster.deploy.grafana > cluster/deploy/grafana/interplay.json"


def test_every_metric_has_a_panel_of_its_own() -> None:
    panels = dashboard()["panels"]
    assert len(panels) == len(METRICS) == len({p["id"] for p in panels})
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)


def test_counters_are_shown_as_rates_and_gauges_as_they_are() -> None:
    queries = {m.name: query(m) for m in METRICS}
    assert queries["interplay_worker_restarts_total"] == "sum by (kind) (rate(ray_interplay_worker_restarts_total[5m]))"
    assert queries["interplay_weight_version"] == "max (ray_interplay_weight_version)"
