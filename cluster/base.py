"""Where a run may start: a base that ships with the package, a checkpoint of another run, a transformers directory.

Whatever it is becomes a checkpoint of the run's own, so that the run serves and resumes by itself.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Final

from actors.checkpoint import MANIFEST, CheckpointStore, Lineage
from cluster.errors import UserError

ARCHITECTURE: Final = "qwen2"  # what `trainers.learner` trains


class NoModel(UserError):
    """There is no model of ours to use where one was named."""


def require_model(directory: Path) -> None:
    """Raises NoModel unless this is a transformers directory with safetensors and a fast tokenizer."""
    for name, why in (("config.json", "its architecture"), ("tokenizer.json", "its fast tokenizer")):
        if not (directory / name).is_file():
            raise NoModel(f"{directory} has no {name}.", f"Name a transformers directory with {why}.")
    if not any(directory.glob("*.safetensors")):
        raise NoModel(f"{directory} has no safetensors.", "Convert the weights: pickles are never loaded here.")


def adopt(base: str, store: CheckpointStore, origin: Lineage) -> None:
    """Copy what `base` names into `store` as the first checkpoint of `origin`; one of another run keeps its step.

    Raises NoModel, and CheckpointError for damaged files.
    """
    path = Path(base)
    if "/" not in base:
        shipped = CheckpointStore(Path(str(resources.files("cluster") / "bases" / base)))
        newest = shipped.latest()
        if newest is None:
            names = ", ".join(sorted(p.name for p in shipped.root.parent.glob("*/")))
            raise NoModel(f"no base named {base!r} ships with the package.", f"Name one of {names}, or a folder.")
        store.adopt(shipped, newest.id, origin)
    elif (path / MANIFEST).is_file():
        store.adopt(CheckpointStore(path.resolve().parent), path.resolve().name, origin)
    else:
        _import(path, store, origin)


def _import(directory: Path, store: CheckpointStore, origin: Lineage) -> None:
    require_model(directory)
    kind = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != ARCHITECTURE:
        raise NoModel(
            f"{directory} holds a {kind} model, and the learner trains {ARCHITECTURE} ones.",
            "Name a Qwen2 model; `interplay eval --model` measures any.",
        )
    from actors.policy import load, save
    from actors.tokenizer import load_tokenizer

    store.publish(origin, lambda into: save(load(directory), load_tokenizer(directory), into))
