"""YAML that is plain data: maps, lists, numbers and text. No other objects are built: a date is the text of it.

Aliases are refused, and a key that a map has twice, of which YAML itself would take the last.
"""

from __future__ import annotations

from typing import Any

import yaml

# The last two: nesting too deep for Python; numbers of thousands of digits, and bytes that are not UTF-8.
NOT_PLAIN = (yaml.YAMLError, RecursionError, ValueError)
OTHER_OBJECTS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("timestamp", "binary", "set", "omap", "pairs"))


class KeyTwice(yaml.YAMLError):
    """A map has a key twice; the message names it with both lines."""


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases, without keys that are there twice and without other objects."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the loader's own way to say it
        first: [(tag, pattern) for tag, pattern in found if tag not in OTHER_OBJECTS]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag not in OTHER_OBJECTS
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except LookupError as error:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: {node.value!r:.60} is no {node.tag.rpartition(':')[2]}") from error

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed in a recipe")
        return super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in seen:
                raise KeyTwice(f"line {line}: the key {key.value:.60} is in line {seen[key.value]} already; keep one")
            seen[key.value] = line
        return node


def parse(text: str | bytes) -> Any:
    """The data of a YAML text. Raises one of NOT_PLAIN."""
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader


def write(data: Any) -> str:
    """Data as YAML, keys in their own order."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def write_value(data: Any) -> str:
    """Data as the value of an override. Not as JSON: its 1e-05 is text in YAML, which wants a point."""
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n...\n").rstrip("\n")
