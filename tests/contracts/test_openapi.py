"""The OpenAPI file of the HTTP API is a reviewed snapshot: a change of the API shows up in docs/openapi.json.

To accept a change: `python -m tests.contracts.test_openapi` writes the file again; review the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving.app import build_routes, openapi
from serving.http.keys import new_key
from serving.schemas import MAX_JSON_FIELDS, Limits
from tests.runs import NotedControl

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


def current(folder: Path) -> str:
    """The document that a server on `folder` would show."""
    from serving.config import ServingConfig
    from serving.replica import Replica

    _, record = new_key("contract", "admin")
    config = ServingConfig.model_validate({"run_dirs": [folder], "keys": [record]})
    limits = Limits(rate_per_minute=1, burst=1, running=1, queued=1)
    control = NotedControl()
    document = openapi(build_routes(Replica(config, control).service, limits, control))
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def test_the_api_is_the_reviewed_one(tmp_path: Path):
    assert SNAPSHOT.read_text(encoding="utf-8") == current(tmp_path), "see this module's docstring"


def test_every_request_body_refuses_unknown_fields(tmp_path: Path):
    schemas = json.loads(current(tmp_path))["components"]["schemas"]
    requests = [schema for name, schema in schemas.items() if name.endswith("Request")]
    assert len(requests) >= 11
    assert all(schema["additionalProperties"] is False for schema in requests)


def most_fields(schema: dict[str, Any], named: dict[str, Any]) -> int:
    """How many fields a value of this schema has at most, with those of all that lies in it."""
    if "$ref" in schema:
        return most_fields(named[schema["$ref"].rpartition("/")[2]], named)
    inside = sum(1 + most_fields(field, named) for field in schema.get("properties", {}).values())
    items = most_fields(schema["items"], named) * schema.get("maxItems", 0) if "items" in schema else 0
    either = (most_fields(one, named) for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())))
    return max(inside, items, *either, 0)


def test_no_request_body_needs_more_fields_than_one_may_have(tmp_path: Path):
    named = json.loads(current(tmp_path))["components"]["schemas"]
    needed = {name: most_fields(schema, named) for name, schema in named.items() if name.endswith("Request")}
    assert needed["ChatRequest"] >= 18, "fields of the messages too"
    assert max(needed.values()) <= MAX_JSON_FIELDS


def test_every_route_documents_its_errors_in_the_one_shape(tmp_path: Path):
    document = json.loads(current(tmp_path))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path == "/healthz":
                continue
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (path, method, status)
            assert {"401", "403", "404", "500"} <= set(operation["responses"]), (path, method)


if __name__ == "__main__":
    SNAPSHOT.write_text(current(Path("/nonexistent")), encoding="utf-8")
