"""`interplay scale`: changes the number of workers of a live run."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.options import tell_asking


def main(
    run: Annotated[str, typer.Argument(help="Name or folder of the run.")],
    rollout_workers: Annotated[int | None, typer.Option(min=1, help="How many rollout workers to have.")] = None,
    reward_workers: Annotated[int | None, typer.Option(min=1, help="How many reward workers to have.")] = None,
) -> None:
    """Change the number of workers of a live run, up or down.

    A new worker gets work only after its weights have passed the parity check; a worker that is removed finishes
    its open work first. Asking twice for the same number changes nothing.
    """
    from verifier.errors import UserError

    if rollout_workers is None and reward_workers is None:
        raise UserError("Nothing to scale.", "Give --rollout-workers N, --reward-workers N or both.")
    tell_asking(run)
    from cluster.run.client import live_run, show

    with live_run(run) as controller:
        show(controller.scale(rollout_workers, reward_workers), as_json=False)
