"""Where a run may start: a base that ships with the package, a checkpoint of another run, a transformers directory.

Whatever it is becomes a checkpoint of the run's own, so that the run serves and resumes by itself.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from actors.policy.checkpoint import MANIFEST, CheckpointStore, Lineage
from verifier.errors import UserError


class NoModel(UserError):
    """There is no model of ours to use where one was named."""


def require_model(directory: Path, to_train: bool = False) -> None:
    """Raises NoModel unless this is a directory of a causal language model with safetensors and a fast tokenizer.

    A model `to_train` must also be of an architecture that the learner computes rightly.
    """
    for name, why in (("config.json", "its architecture"), ("tokenizer.json", "its fast tokenizer")):
        if not (directory / name).is_file():
            raise NoModel(f"{directory} has no {name}.", f"Name a transformers directory with {why}.")
    if not any(directory.glob("*.safetensors")):
        raise NoModel(f"{directory} has no safetensors.", "Convert the weights: pickles are never loaded here.")
    _require_usable(directory, to_train)


def check(base: str) -> None:
    """Raises NoModel where `base` names nothing to start from. Hashes are compared when it is taken."""
    path = Path(base)
    if _is_a_name(base):
        if not _shipped(base).list():
            names = ", ".join(sorted(p.name for p in _shipped(base).root.parent.glob("*/")))
            raise NoModel(f"no base named {base!r} ships with the package.", f"Name one of {names}, or a folder.")
    elif not (path / MANIFEST).is_file():
        require_model(path, to_train=True)


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
        require_fitting(read_text_format(directory), config.vocab_size)
        if to_train:
            require_trainable(config)
    except ModelRefused as error:
        raise NoModel(str(error), "Name another model; docs/models.md lists the architectures that work.") from error


def _is_a_name(base: str) -> bool:
    return "/" not in base


def _shipped(name: str) -> CheckpointStore:
    return CheckpointStore(Path(str(resources.files("cluster") / "bases" / name)))
