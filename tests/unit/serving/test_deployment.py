"""The Serve application, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.config import ReplicaConfig, ServingConfig
from serving.deployment import NotCounted, application
from serving.http.keys import new_key
from tests.runs import NotedControl

LISTEN = {"host": "127.0.0.1", "port": 8000}


@pytest.mark.parametrize(
    ("listen", "least", "most"), [(LISTEN, 2, 2), (None, 1, 4)], ids=["its own port", "Serve's proxy"]
)
def test_replicas_are_a_fixed_number_or_scaled_by_the_requests_that_serve_sees(
    tmp_path: Path, listen: dict | None, least: int, most: int
):
    application(_config(tmp_path, listen), ReplicaConfig(min_replicas=least, max_replicas=most), {}, NotedControl())


def test_replicas_whose_requests_serve_does_not_see_are_not_scaled_by_it(tmp_path: Path):
    with pytest.raises(NotCounted, match="Serve does not see their requests") as caught:
        application(_config(tmp_path, LISTEN), ReplicaConfig(min_replicas=1, max_replicas=4), {}, NotedControl())
    assert "leave `listen` out" in caught.value.fix


def _config(folder: Path, listen: dict | None) -> ServingConfig:
    _, record = new_key("someone", "probe")
    return ServingConfig.model_validate({"run_dirs": [folder], "keys": [record], "listen": listen})
