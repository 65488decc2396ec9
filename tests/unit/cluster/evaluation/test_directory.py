"""An evaluation that cannot begin, or could not be kept, is refused before it samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.commands.models.eval import main
from cluster.errors import NotEnough
from cluster.recipe.base import BASES
from verifier.errors import UserError

MODEL = str(next((BASES / "tiny-base").iterdir()))


@pytest.mark.parametrize("out", [".", "no/such/scores.json"])
def test_scores_that_could_not_be_written_are_refused_first(tmp_path: Path, out: str) -> None:
    with pytest.raises(UserError, match=r"is a folder|cannot write"):
        main(MODEL, task="smoke", out=str(tmp_path / out), settings=["fleet.rollout_workers=400"])


def test_too_few_resources_are_told_with_what_the_command_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(NotEnough, match="cpus") as refused:
        main(MODEL, task="smoke", settings=["fleet.rollout_workers=400"])
    assert "fleet.rollout_workers=1" in refused.value.fix
    assert "--wait" not in refused.value.fix
