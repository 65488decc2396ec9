"""The runs that a person named, each called so that they can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.compare.content import Compared
from cluster.run.folder import RunFolder, find_run
from verifier.errors import UserError


def compared(names: Sequence[str]) -> list[Compared]:
    """The runs, in order. Raises UserError for fewer than two, or one that is named twice."""
    folders = [find_run(name) for name in names]
    paths = [folder.path for folder in folders]
    if len(paths) < 2:
        raise UserError("One run alone cannot be compared.", "Name two runs or more: interplay compare RUN RUN.")
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UserError(f"{twice} is named twice.", "Name each run once.")
    return [Compared.of(folder, name) for folder, name in zip(folders, _short(folders), strict=True)]


def _short(folders: Sequence[RunFolder]) -> list[str]:
    """The folders' names; with as many of the folders above as it takes to tell them apart."""
    for depth in range(1, max(len(folder.path.parts) for folder in folders) + 1):
        names = [str(Path(*folder.path.parts[-depth:])) for folder in folders]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different folders have different paths")
