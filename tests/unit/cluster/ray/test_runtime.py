"""Addresses that are refused before anything starts; what starts is tested in tests/integration/test_runtime.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ClusterUnreachable
from cluster.ray.resources import Resources
from cluster.ray.runtime import running


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.5", "head:port"])
def test_what_is_no_host_and_port_is_told_so_rather_than_that_it_is_far_away(tmp_path: Path, address: str) -> None:
    told = pytest.raises(ClusterUnreachable, match=f"{address} is not the address of a Ray head")
    with told as refused, running(tmp_path, Resources(1), address=address):
        pass
    assert "HOST:PORT" in refused.value.fix


def test_what_is_no_hosts_name_is_refused(tmp_path: Path) -> None:
    told = pytest.raises(ClusterUnreachable, match=r"nothing answers at a\.\.b:1 ")
    with told, running(tmp_path, Resources(1), address="a..b:1", insecure=True):
        pass
