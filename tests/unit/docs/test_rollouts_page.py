"""The page on kept rollouts names every column, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.rollouts.store import RolloutStore
from actors.rollouts.table import SCHEMA
from tests.rollouts import step_rollouts

PAGE = (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text()


def test_every_column_is_in_the_table():
    rows = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert [name for name in SCHEMA.names if f"`{name}`" not in rows] == []


@pytest.mark.parametrize("library", ["pandas", "duckdb"])
def test_the_examples_read_a_run(library, tmp_path, monkeypatch):
    store = RolloutStore(tmp_path / "runs" / "demo", "rl", 0, 9)
    for step in (1, 2):
        store.write(step_rollouts(step, groups=3))
    (tmp_path / "runs" / "demo" / "rollouts" / "rl" / ".step-000003.parquet.0123abcd").write_bytes(b"torn")
    monkeypatch.chdir(tmp_path)
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if f"import {library}" in block]
    found: dict = {}
    exec(code, found)  # the documentation's own
    if library == "pandas":
        assert len(found["rows"]) == 2 * 9
        assert found["by_step"]["verified"].tolist() == pytest.approx([1 / 3] * 2)
        assert found["first_errors"]["right"] > 0
    else:
        assert {step for step, *_ in found["worst"]} == {1, 2}
