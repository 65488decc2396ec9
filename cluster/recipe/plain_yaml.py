"""YAML that is plain data: maps, lists, numbers and text. No other objects are built, and aliases are refused."""

from __future__ import annotations

from typing import Any

import yaml

# The last two: nesting too deep for Python; numbers of thousands of digits, and bytes that are not UTF-8.
NOT_PLAIN = (yaml.YAMLError, RecursionError, ValueError)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed in a recipe")
        return super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]


def parse(text: str | bytes) -> Any:
    """The data of a YAML text. Raises one of NOT_PLAIN."""
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader


def write(data: Any) -> str:
    """Data as YAML, keys in their own order."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
