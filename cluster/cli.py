"""The `interplay` command: the names of the sub-commands, and how errors are printed. No work is done here.

A sub-command lives in `cluster/commands/<what it is about>/<name>.py` as a function `main` with typer's annotations, or
as a group of several. Its module is imported only when that sub-command is called, so `interplay --help` pays for none.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from cluster.errors import FULL
from cluster.ray.environment import cache_folder, process_env, require_own
from verifier.errors import Failure, UserError

COMMANDS = MappingProxyType(
    {
        "runs": {
            "run": "Run a recipe: tokenizer, pre-training, mid-training, RL, evaluation, report.",
            "submit": "Send a recipe to a Ray cluster as a job and follow its log.",
            "study": "Run every arm of a study for every seed, and decide its claims.",
            "status": "Show what a live run is doing.",
            "scale": "Change the number of rollout or reward workers of a live run.",
            "stop": "Stop a live run, or a job on a Ray cluster.",
            "report": "Write the report of a run or a study again.",
            "rollouts": "Show the rollouts that an RL stage kept: a table, JSON lines, or one judged text in colour.",
            "diagnose": "Say what went wrong in a run's RL stages, since when, and which setting to change.",
            "compare": "Show runs side by side: recipes, bands with paired intervals, curves, costs.",
        },
        "models": {
            "eval": "Measure pass@k of a checkpoint on the problems of a task.",
            "serve": "Serve the checkpoints of a run over HTTP.",
            "export": "Copy a checkpoint out of a run, as a transformers directory.",
        },
        "problems": {
            "generate": "Write problems with their questions and gold solutions.",
            "verify": "Judge solutions step by step.",
            "solve": "Solve problems from their text alone.",
        },
        "setup": {
            "recipe": "List the keys of recipes, show a recipe, or check one.",
            "doctor": "Check this machine and list what is missing; show what a recipe needs of a GPU.",
        },
    }
)
"""What the commands are about, which is also the folder that they are in, and what each does."""

ROOMS = MappingProxyType({name: room for room, texts in COMMANDS.items() for name in texts})


class LazyGroup(TyperGroup):
    """Holds a placeholder per sub-command for the help page, and loads the real command when it is called."""

    def resolve_command(self, ctx, args):  # pyright: ignore[reportMissingParameterType]  # typer's click is private
        """Typer's own lookup, after the module of the named sub-command is loaded."""
        if args and args[0] in ROOMS:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)


def _load(name: str):
    room = ROOMS[name]
    module = importlib.import_module(f"cluster.commands.{room}.{name}")
    if isinstance(module.main, typer.Typer):
        return typer.main.get_command(module.main)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, help=COMMANDS[room][name] if not module.main.__doc__ else None)(module.main)
    return typer.main.get_command(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interplay {version('interplay')}")
        raise typer.Exit


def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """RL post-training for reasoning models whose every step can be checked."""


def _build() -> typer.Typer:
    app = typer.Typer(
        name="interplay",
        cls=LazyGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, room in ROOMS.items():
        app.command(name, help=COMMANDS[room][name], rich_help_panel=room.capitalize())(lambda: None)
    return app


def _explain(error: UserError | Failure) -> str:
    text, parted = (str(error), "\n") if "\n" in str(error) else (" ".join(str(error).split()), " ")
    return f"error: {text}{parted}fix: {error.fix}" if error.fix else f"error: {text}"


def _find_code_here() -> None:
    """Let a recipe name code in the current folder, which neither a console script nor `python -P` searches.

    It is searched last, so that no file there shadows an installed package. Ray passes the folder on to its workers.
    Raises UserError if the folder was removed.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the current folder does not exist any more.", "Go to another one: cd") from error
    if here not in sys.path:
        sys.path.append(here)


def main() -> None:
    """Entry point. Exit code 0: done. 1: the work failed. 2: the input has to be corrected. 130: Ctrl-C."""
    cache = cache_folder(os.environ)
    os.environ.update(process_env(cache))
    try:
        require_own(cache)
        _find_code_here()
        _build()()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        told = _of_the_disk(error)
        if told is None:
            raise
        _end(told)
    except (UserError, Failure) as error:
        _end(error)


def _of_the_disk(error: OSError) -> UserError | Failure | None:
    """What a person reads of a file that may not be used, or of a disk that is full; None for any other error."""
    if isinstance(error, PermissionError) and error.filename is not None:
        return UserError(f"{error.filename}: permission denied.", "Let this user read and write it, or name another.")
    if error.errno in FULL:
        where = f"{error.filename}: " if error.filename is not None else ""
        return Failure(f"{where}{error.strerror}.", "Make room, and run the command again; what was saved is there.")
    return None


def _end(error: UserError | Failure) -> NoReturn:
    print(_explain(error), file=sys.stderr)
    sys.exit(2 if isinstance(error, UserError) else 1)
