"""schemathesis over the OpenAPI document: no 500, no undocumented status, content type or shape, whatever is sent.

The application is the real one on a real port, its engines write a script; the number of examples is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actors.policy.text_format import text_format
from serving.config import ServingConfig
from serving.encoding.codec import Codec
from serving.http.keys import new_key
from serving.replica import Replica
from tests.http.conftest import TINY, TOKENIZER, FakeFactory, Script, publish
from tests.runs import NotedControl

DOCUMENT = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.json")
OPERATIONS = [found.ok() for found in DOCUMENT.get_all_operations() if isinstance(found, Ok)]
assert len(OPERATIONS) == len(list(DOCUMENT.get_all_operations())), "an operation of the document cannot be read"
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server, and an admin key."""
    from actors.policy.checkpoint import CheckpointStore

    folder = tmp_path_factory.mktemp("fuzz") / "demo"
    for step in (1, 2):
        publish(CheckpointStore(folder / "checkpoints"), "rl", step, seed=step)
    key, record = new_key("fuzz", "admin")
    # The largest rate, so that what is fuzzed is not the rate limit; it has its own test.
    config = ServingConfig.model_validate(
        {"run_dirs": [folder], "keys": [record], "rate_per_minute": 10**6, "burst": 10**6, "deadline_s": 5.0}
    )
    codec = Codec(text_format(TOKENIZER), TINY.max_positions)
    replica = Replica(config, NotedControl(), FakeFactory(Script(), codec))
    server = uvicorn.Server(uvicorn.Config(replica.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    while httpx.get(f"{url}/readyz", headers={"authorization": f"Bearer {key}"}, timeout=60).status_code != 200:
        thread.join(0.05)
    yield url, key
    server.should_exit = True
    thread.join(5)


def ask(operation: APIOperation, api: tuple[str, str]) -> None:
    """Generated cases of one operation, each checked against the document."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
    )
    def cases(case: schemathesis.Case) -> None:
        headers = {"Authorization": f"Bearer {api[1]}"}
        case.call_and_validate(base_url=api[0], headers=headers, checks=list(CHECKS), timeout=20)

    cases()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_gets_an_undocumented_answer(operation: APIOperation, api: tuple[str, str]):
    ask(operation, api)
