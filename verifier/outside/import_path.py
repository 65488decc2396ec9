"""Objects of the user's own by import path. Only a recipe names one: never a request, a model or a checkpoint."""

from __future__ import annotations

import importlib
from typing import Any

from verifier.errors import BadImportPath


def load_object(path: str) -> Any:
    """The object that `package.module:name` names. Raises BadImportPath."""
    module_name, colon, name = path.partition(":")
    if not (colon and module_name and name):
        raise BadImportPath(f"{path!r} is no import path: write package.module:name")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it loads
        raise BadImportPath(
            f"{path}: {module_name} does not import ({type(error).__name__}: {error}); "
            "run from the folder that holds it, or install it"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        raise BadImportPath(f"{path}: {module_name} has no {name}; correct the part after the colon")
    return found
