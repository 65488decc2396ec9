"""What is sent to the machines of a cluster: our packages, the files that a command reads, and the user's folder if the
recipe names code in it. Ray does the sending.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.ray.environment import REPOSITORY
from verifier.errors import UserError

PACKAGES = ("verifier", "actors", "trainers", "serving", "cluster")
SHIPPED_RECIPE = "submitted-recipe.yaml"
# Ray's job server accepts 100 MiB, compressed.
OWN_MIB = 64
_IMPORT_PATH = re.compile(r"([A-Za-z_]\w*)(?:\.\w+)*:[A-Za-z_]\w*")
_RUN_FILES = frozenset({"recipe.yaml", "checkpoints"})


class TooMuchToShip(UserError):
    """The folder with the user's code is too large to be sent with a job."""

    fix = "Start from a folder that holds the code alone, or install the code on the cluster."


@dataclass(frozen=True, slots=True)
class Sent:
    """A command for a cluster: `words` after `python -m cluster`, the texts of the files that it reads, by their names
    there, and the folder of the user's code, if the recipe names some. `name` goes into the job's id.
    """

    name: str
    words: tuple[str, ...]
    files: Mapping[str, str]
    own: Path | None


def recipe_to_send(recipe: str) -> tuple[str, dict[str, str]]:
    """A recipe as it is named on the cluster, and the text of its file if it is one."""
    if not recipe.endswith((".yaml", ".yml")):
        return recipe, {}
    return SHIPPED_RECIPE, {SHIPPED_RECIPE: Path(recipe).read_text(encoding="utf-8")}


def stage(into: Path, files: Mapping[str, str], own: Path | None = None) -> None:
    """Copy our packages, the files and the content of the folder `own` into the folder `into`. Raises TooMuchToShip."""
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, into / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if own is not None:
        _stage_own(own, into)
    for name, text in files.items():
        (into / name).write_text(text, encoding="utf-8")


def own_folder(settings: object, folder: Path) -> Path | None:
    """`folder`, if an import path in the settings leads to a module in it; None if all modules are installed.

    `settings` is a recipe as plain data, checked or not.
    """
    modules = (match[1] for text in _texts(settings) if (match := _IMPORT_PATH.fullmatch(text)))
    found = any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for name in modules)
    return folder if found else None


def _texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list | tuple):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from _texts(value)


def _stage_own(own: Path, into: Path) -> None:
    size = 0
    for file in _own_files(own):
        size += file.stat().st_size
        if size > OWN_MIB * 1024**2:
            raise TooMuchToShip(
                f"the recipe names code of yours, so the folder {own} is sent with it; it holds more than {OWN_MIB} MiB"
            )
        to = into / file.relative_to(own)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)


def _own_files(own: Path) -> Iterator[Path]:
    """The files of the folder, without runs, environments, caches, hidden files and packages named like ours."""
    for at, folders, files in os.walk(own):
        here = Path(at)
        folders[:] = [name for name in folders if not _left_out(here / name, at_top=here == own)]
        yield from (path for name in files if not name.startswith(".") and (path := here / name).is_file())


def _left_out(folder: Path, at_top: bool) -> bool:
    if folder.name.startswith(".") or folder.name == "__pycache__" or (at_top and folder.name in PACKAGES):
        return True
    return (folder / "pyvenv.cfg").exists() or all((folder / name).exists() for name in _RUN_FILES)
