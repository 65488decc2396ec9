"""schemathesis over the OpenAPI document: no 500, no undocumented status, content type or shape, whatever is sent.

The application is the real one on a real port, its engines write a script; the number of examples is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.app import build_routes, openapi
from serving.codec import Codec
from serving.config import ServingConfig
from serving.keys import new_key
from serving.replica import Replica
from serving.schemas import Limits
from tests.http.conftest import TINY, TOKENIZER, FakeFactory, Script, publish

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict]]:
    """The address of a server, an admin key, and the document."""
    from actors.checkpoint import CheckpointStore

    folder = tmp_path_factory.mktemp("fuzz") / "demo"
    for step in (1, 2):
        publish(CheckpointStore(folder / "checkpoints"), "rl", step, seed=step)
    key, record = new_key("fuzz", "admin")
    # The largest rate, so that what is fuzzed is not the rate limit; it has its own test.
    config = ServingConfig.model_validate(
        {"run_dirs": [folder], "keys": [record], "rate_per_minute": 10**6, "burst": 10**6, "deadline_s": 5.0}
    )
    replica = Replica(config, FakeFactory(Script(), Codec(TOKENIZER, TINY.max_positions)))
    limits = Limits(rate_per_minute=1, burst=1, running=1, queued=1)
    document = openapi(build_routes(replica.service, limits))
    server = uvicorn.Server(uvicorn.Config(replica.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", key, document
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def api_schema(api: tuple[str, str, dict]):
    """The document as schemathesis reads it."""
    url, _, document = api
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@pytest.mark.timeout(120)
def test_no_request_gets_an_undocumented_answer(case: schemathesis.Case, api: tuple[str, str, dict]):
    case.call_and_validate(headers={"Authorization": f"Bearer {api[1]}"}, checks=CHECKS, timeout=20)
