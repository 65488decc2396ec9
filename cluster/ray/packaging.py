"""What of the checkout travels to the machines of a cluster: the packages and nothing else. Ray does the carrying."""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster.ray.environment import REPOSITORY

PACKAGES = ("verifier", "actors", "trainers", "serving", "cluster")
SHIPPED_RECIPE = "submitted-recipe.yaml"


def stage(into: Path, recipe: str | None = None) -> str | None:
    """Copy our packages into the empty folder `into`, and a recipe file beside them.

    Returns the recipe as the other side should name it: a shipped recipe's name stays, a file becomes its copy.
    """
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, into / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if recipe is None or not recipe.endswith((".yaml", ".yml")):
        return recipe
    shutil.copyfile(recipe, into / SHIPPED_RECIPE)
    return SHIPPED_RECIPE
