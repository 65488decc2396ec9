"""What a run may start from: a base that ships with the package, a checkpoint of another run, a transformers directory.

It is copied into the run as a checkpoint, so that the run can be served and resumed without the original.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from actors.policy.checkpoint import MANIFEST, CheckpointStore, Lineage
from verifier.errors import UserError

BASES: Final = Path(str(resources.files("cluster") / "bases"))
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class NoModel(UserError):
    """The model that was named does not exist, or cannot be used."""


def require_model(directory: Path, to_train: bool = False) -> None:
    """Raises NoModel unless the directory holds a causal language model with safetensors and a fast tokenizer.

    A model `to_train` must also have an architecture that the learner computes correctly.
    """
    if not os.path.exists(directory):  # a path may be too long
        if HUB_ID.fullmatch(str(directory)):
            raise NoModel(
                f"there is no folder {directory} here, and nothing is downloaded.",
                f"If it is a model of a hub, download it first: hf download {directory} --local-dir {directory}",
            )
        raise NoModel(f"there is no folder {directory}.", "Check the path.")
    for name, why in (("config.json", "its architecture"), ("tokenizer.json", "its fast tokenizer")):
        if not (directory / name).is_file():
            raise NoModel(f"{directory} has no {name}.", f"Name a transformers directory with {why}.")
    if not any(directory.glob("*.safetensors")):
        raise NoModel(f"{directory} has no safetensors.", "Convert the weights: pickles are never loaded here.")
    _require_usable(directory, to_train)


def check(base: str) -> None:
    """Raises NoModel if `base` names nothing to start from. Hashes are compared when it is copied."""
    path = Path(base)
    if _is_a_name(base):
        if base not in _names():
            raise NoModel(
                f"no base named {base!r} ships with the package.",
                f"Name one of {', '.join(_names())}, or a folder with a slash in its path: ./my-model",
            )
    elif not (path / MANIFEST).is_file():
        require_model(path, to_train=True)


def missing_bases(stages: Any) -> list[str]:
    """One line for each base stage whose base is missing. `stages` are those of a recipe's tree."""
    lines: list[str] = []
    for name, base in _bases(stages):
        try:
            if base:  # that it is empty is told with the other wrong keys
                check(base)
        except NoModel as error:
            lines.append(f"stages.{name}.base: {error} {error.fix}")
    return lines


def _bases(stages: Any) -> Iterator[tuple[str, str]]:
    """Name and base of the base stages; in a tree that is not checked yet, of what looks like one."""
    for stage in stages if isinstance(stages, list | tuple) else ():
        if isinstance(stage, dict) and stage.get("kind") == "base" and isinstance(stage.get("base"), str):
            yield str(stage.get("name")), stage["base"]


def directory(base: str) -> Path:
    """The transformers directory that `base` names. Raises NoModel."""
    check(base)
    if _is_a_name(base):
        store = _shipped(base)
        return store.path(store.list()[-1].id)
    return Path(base).resolve()


def adopt(base: str, store: CheckpointStore, origin: Lineage) -> None:
    """Copy what `base` names into `store` as the first checkpoint of `origin`; one of another run keeps its step.

    Raises NoModel, and CheckpointError for damaged files.
    """
    check(base)
    path = Path(base).resolve()
    if _is_a_name(base):
        shipped = _shipped(base)
        store.adopt(shipped, shipped.list()[-1].id, origin)
    elif (path / MANIFEST).is_file():
        store.adopt(CheckpointStore(path.parent), path.name, origin)
    else:
        from actors.policy.model import load, save
        from actors.policy.tokenizer import load_tokenizer

        store.publish(origin, lambda into: save(load(path), load_tokenizer(path), into))


def _require_usable(directory: Path, to_train: bool) -> None:
    from actors.policy.architecture import ModelRefused, config_of, require_trainable  # loads torch
    from actors.policy.text_format import read_text_format, require_fitting

    try:
        config = config_of(directory)
        require_fitting(read_text_format(directory), config.get_text_config().vocab_size)
        if to_train:
            require_trainable(config)
    except ModelRefused as error:
        raise NoModel(str(error), "Name another model; docs/models.md lists the architectures that work.") from error


def _is_a_name(base: str) -> bool:
    return "/" not in base


def _names() -> list[str]:
    return sorted(folder.name for folder in BASES.glob("[!_.]*/"))


def _shipped(name: str) -> CheckpointStore:
    return CheckpointStore(BASES / name)
