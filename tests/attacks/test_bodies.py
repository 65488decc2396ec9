"""Bodies made to be slow to look at: the work grows with their length and with nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from serving.http.bodies import check_json
from serving.http.errors import BadRequest
from serving.schemas import MAX_BODY_BYTES, MAX_JSON_DEPTH, MAX_JSON_FIELDS, MAX_JSON_VALUES, Request
from tests.http.conftest import Server

HOSTILE = [b'"', b'\\"', b'""', b"\\", b"[]", b"[", b'["', b'{"a":', b"1,", b"a", "\u00e9".encode(), b'\\\\"']


def calls(body: bytes) -> int:
    """How many functions, of Python and of C, the look at a body calls. Each is one pass over bytes at most."""
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        check_json(body)
    except BadRequest:
        pass
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_body_twice_as_long_takes_the_same_number_of_passes(piece: bytes):
    often = MAX_BODY_BYTES // len(piece) // 2
    assert calls(b'"' + piece * often) == calls(b'"' + piece * (2 * often))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\[]{},:a\u00e9', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@given(JSON, st.integers(0, 20))
def test_depth_is_that_of_the_parsed_value_whatever_its_strings_hold(value: object, more: int):
    for _ in range(more):
        value = [value]
    body = json.dumps(value, ensure_ascii=False).encode()
    refused = None
    try:
        check_json(body)
    except BadRequest as error:
        refused = error.own_code
    assert refused == ("too_deep" if depth_of(value) > MAX_JSON_DEPTH else None)


def test_values_are_counted_outside_strings_only():
    check_json(b"[" + b"1," * (MAX_JSON_VALUES - 2) + b"1]")
    check_json(b'["' + b"1," * MAX_JSON_VALUES + b'"]')
    with pytest.raises(BadRequest) as refused:
        check_json(b"[" + b"1," * MAX_JSON_VALUES + b"1]")
    assert refused.value.own_code == "too_many_values"


def test_fields_are_counted_outside_strings_only():
    def body(fields: int) -> bytes:
        return json.dumps({f"a{n}:{n}": ":" for n in range(fields)}).encode()

    check_json(body(MAX_JSON_FIELDS))
    with pytest.raises(BadRequest) as refused:
        check_json(body(MAX_JSON_FIELDS + 1))
    assert refused.value.own_code == "too_many_fields"


MANY = 19_000
WRONG_BODIES = {
    "ids": ("/v1/completions", {"model": "latest", "prompt": [1] + ["a"] * MANY}, "prompt.1"),
    "texts": ("/v1/completions", {"model": "latest", "prompt": ["a"] + [1] * MANY}, "prompt.1"),
    "stops": ("/v1/completions", {"model": "latest", "prompt": "a", "stop": [1] * MANY}, "stop.0"),
    "models": ("/v1/probe/compare", {"models": [1] * MANY}, "models.0"),
    "ks": ("/v1/probe/pass-at-k", {"model": "latest", "ks": ["a"] * MANY}, "ks.0"),
    "steps": ("/v1/probe/recovery", {"models": ["latest"], "steps": ["a"] * MANY}, "steps.0"),
    "fields": ("/v1/completions", {"model": "latest", "prompt": "a", **{f"a{n}": 1 for n in range(9_000)}}, None),
}


@pytest.mark.parametrize(("path", "body", "param"), WRONG_BODIES.values(), ids=WRONG_BODIES)
async def test_of_many_faults_only_a_few_are_looked_at(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, body: dict, param: str | None
):
    looked_at: list[int] = []
    begin = RequestValidationError.__init__

    def counted(self: RequestValidationError, errors: list[Any], **more: Any) -> None:
        looked_at.append(len(errors))
        begin(self, errors, **more)

    monkeypatch.setattr(RequestValidationError, "__init__", counted)
    answer = await server.client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert sum(looked_at) <= MAX_JSON_FIELDS


def lists_in(schema: object) -> Iterator[dict[str, Any]]:
    """The collections that a body is validated by, wherever they lie in pydantic's schema."""
    if isinstance(schema, dict):
        if schema.get("type") in ("list", "tuple", "set", "frozenset", "dict", "generator"):
            yield schema
        for key, inner in schema.items():
            yield from lists_in(inner) if key not in ("metadata", "default", "cls") else ()
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from lists_in(inner)


def below(kind: type[Request]) -> Iterator[type[Request]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


def test_every_list_of_every_body_stops_at_its_first_wrong_item():
    found = [(body.__name__, one) for body in below(Request) for one in lists_in(body.__pydantic_core_schema__)]
    assert {"CompletionRequest", "ChatRequest", "CompareRequest", "RecoveryRequest"} <= {name for name, _ in found}
    assert [name for name, one in found if not one.get("fail_fast")] == []


async def test_a_large_body_is_looked_at_outside_the_event_loop(server: Server, monkeypatch: pytest.MonkeyPatch):
    import threading

    from serving.http import bodies

    seen: list[int] = []
    monkeypatch.setattr(bodies, "check_json", lambda body: seen.append(threading.get_ident()))
    for size in (10, 100_000):
        body = json.dumps({"model": "latest", "prompt": "a" * size, "x": 1})
        await server.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert [ident == threading.get_ident() for ident in seen] == [True, False]
