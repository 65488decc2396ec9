"""`interplay stop`: stops a job on a Ray cluster."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def main(
    job: Annotated[str, typer.Argument(help="Id of the job, as `interplay submit` printed it.")],
    address: Annotated[
        str, typer.Option(help="Job server of the cluster: HOST, HOST:PORT or a URL.")
    ] = "127.0.0.1:8265",
    insecure: Annotated[
        bool,
        typer.Option(
            "--i-accept-that-anyone-on-the-network-can-run-code", help="Use a cluster without authentication."
        ),
    ] = False,
) -> None:
    """Stop a job on a Ray cluster and wait until it has ended. A run saves before it ends."""
    from cluster.ray import jobs

    status = jobs.stop(jobs.reach(address, os.environ, insecure=insecure), job)
    print(f"job {job}: {status}")
