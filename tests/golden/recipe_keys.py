"""The tables of docs/recipes.md, made from the settings models; `python -m tests.golden.recipe_keys` makes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.recipe.config import Recipe
from cluster.recipe.keys import OF_ALGORITHM, OF_KIND, OF_TASK, REQUIRED, keys_of, parts
from verifier.families import TaskConfig

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
MARK = "<!-- Made by python -m tests.golden.recipe_keys -->\n"
HEAD = "| key | may be | default | unit | meaning |\n|---|---|---|---|---|"


def rendered(page: str) -> str:
    """The page with the tables of now below the mark."""
    written, mark, _ = page.partition(MARK)
    assert mark, f"docs/recipes.md has lost its line {MARK}"
    places = _places()
    return written + mark + "".join(_section(model, places) for model in places)


def _places() -> dict[type[Any], list[str]]:
    """Every settings model of a recipe with the paths that it has, in the order of the models."""
    found: dict[type[Any], list[str]] = {}

    def visit(model: type[Any], path: str) -> None:
        found.setdefault(model, []).append(path)
        for key, field in keys_of(model, path and f"{path}."):
            for part in parts(field.annotation):
                step = f".{part.step}" if part.step not in ("", "0") else ""
                visit(part.model, f"{key.path}{step}")

    visit(Recipe, "")
    return found


def _section(model: type[Any], places: dict[type[Any], list[str]]) -> str:
    """One model: where it stands, what it says of itself, its keys."""
    title = _title(model, places)
    others = [f"`{path}`" for path in places[model] if path and f"`{path}`" not in title]
    also = f" Also {', '.join(others)}." if others else ""
    said = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    return "\n".join([f"\n### {title}\n", f"{said}{also}\n", HEAD, *_rows(model, places), ""])


def _title(model: type[Any], places: dict[type[Any], list[str]]) -> str:
    if model is Recipe:
        return "The recipe"
    family = model.model_fields["family"].default if _of_one_family(model) else ""
    return f"`{places[model][0]}`" + (f" of the family {family}" if family else "")


def _rows(model: type[Any], places: dict[type[Any], list[str]]) -> Iterator[str]:
    for key, field in keys_of(model):
        if _of_one_family(model) and key.path in TaskConfig.model_fields:
            continue
        models = [part.model for part in parts(field.annotation) if not _of_one_family(part.model)]
        within = list(dict.fromkeys(_title(inner, places) for inner in models))
        values = ", ".join(f"[{title}](#{_anchor(title)})" for title in within) or key.values
        default = key.default if key.default in (REQUIRED, OF_KIND, OF_ALGORITHM, OF_TASK, "") else f"`{key.default}`"
        yield f"| `{key.path}` | {values} | {default} | {key.unit} | {key.meaning or _first_sentence(models[0])} |"


def _first_sentence(model: type[Any]) -> str:
    """What a key says whose field has no description: what its model says."""
    return inspect.cleandoc(model.__doc__ or "").replace("\n", " ").partition(". ")[0].removesuffix(".")


def _of_one_family(model: type[Any]) -> bool:
    return issubclass(model, TaskConfig) and model is not TaskConfig


def _anchor(title: str) -> str:
    """The anchor that MkDocs gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
