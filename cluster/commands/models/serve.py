"""`interplay serve`: the checkpoints of runs over HTTP. `cluster.serve.server` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Insecure


def main(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="Names or folders of runs. `latest`, `best` and `base` without a run mean the first run's.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address; other than loopback needs --api-key-file.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File of hashed keys (--add-key makes it). Without: one key for this start.")
    ] = None,
    add_key: Annotated[
        str | None, typer.Option(metavar="NAME:SCOPE[:DAYS]", help="Add a key to the file, print it once, and exit.")
    ] = None,
    list_keys: Annotated[bool, typer.Option("--list-keys", help="Show the keys of the file, and exit.")] = False,
    revoke_key: Annotated[str | None, typer.Option(metavar="NAME", help="Take a key out of it, and exit.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Problems for the page: those of a recipe (name or YAML file), or package.module:factory.  "
            "(default: the first run's, unless they are code)"
        ),
    ] = None,
    engines: Annotated[int, typer.Option(min=1, help="Checkpoints in memory at once, per replica.")] = 3,
    replicas: Annotated[int, typer.Option(min=1, help="Processes with engines of their own behind the port.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of one replica; 0 serves on the CPU.")] = 0,
    running: Annotated[int, typer.Option(min=1, help="Sequences in the engines of one replica at once.")] = 32,
    queued: Annotated[int, typer.Option(min=0, help="Requests that may wait; more get 503 at once.")] = 64,
    address: Annotated[
        str | None, typer.Option(help="Serve on this Ray cluster; without, on a Ray of its own on this machine.")
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Serve the checkpoints of runs over HTTP, with a page to look at what they learned.

    A run is called by its folder, and its models too: `demo@20`. New checkpoints of a run that trains appear without
    a restart. Ctrl-C or SIGTERM drains, then stops.
    """
    from cluster.run.folder import find_run
    from cluster.serve import keys, server

    if list_keys or add_key is not None or revoke_key is not None:
        typer.echo(keys.handle(api_key_file, add_key, revoke_key))
        return
    if not runs:
        raise server.ServeError("there is no run to serve.", "Name the folder that `interplay run` wrote.")
    plan = server.plan(
        run_dirs=tuple(find_run(run).path for run in runs),
        host=host,
        port=port,
        key_file=api_key_file,
        engines=engines,
        replicas=replicas,
        gpus=gpus,
        running=running,
        queued=queued,
        task=task,
    )
    server.serve(plan, typer.echo, address=address, insecure=insecure)
