"""`interplay export`: copies a checkpoint out of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def main(
    run: Annotated[str, typer.Argument(help="Name or folder of the run.")],
    to: Annotated[Path, typer.Option(help="Folder to copy into; the checkpoint gets a folder of its own id there.")],
    checkpoint: Annotated[str | None, typer.Option(help="Id of the checkpoint. (default: the newest)")] = None,
) -> None:
    """Copy a checkpoint out of a run, as a transformers directory.

    Weights, config, tokenizer and manifest are copied and checked; the optimiser's state stays behind.
    """
    from actors.policy.checkpoint import CheckpointStore
    from cluster.run.folder import find_run
    from verifier.errors import UserError

    if os.path.lexists(to) and not os.path.isdir(to):
        raise UserError(f"{to} is no folder.", "Name a folder; it is made if it does not exist.")
    store = find_run(run).store
    newest = store.latest()
    if newest is None:
        raise UserError(f"{run} holds no good checkpoint.", "Name a run that got as far as one.")
    manifest = CheckpointStore(to.resolve()).adopt(store, checkpoint or newest.id)
    typer.echo(f"{to / manifest.id}  {manifest.weight_hash[:12]}")
