"""Packages that only some families need: the extras of this distribution."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from verifier.errors import BadTask


def need(module: str, extra: str, requirement: str) -> Any:
    """The module of an extra. Raises BadTask with the command that installs it.

    What the compiler says of such a package's own code when it is first imported is not shown: no user can mend it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadTask(
            f"{requirement} is not installed (extra [{extra}]; {error.name} is missing): "
            f"python -m pip install '{requirement}'"
        ) from error
