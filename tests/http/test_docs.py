"""What the documentation prints and no running server is needed for; test_served.py runs the rest of its examples."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from serving.http.keys import identify, parse_key_file
from tests.http import doc_examples
from tests.http.conftest import Server


async def test_the_printed_error_is_the_one_that_comes(server: Server):
    (printed,) = [json.loads(e.text) for e in doc_examples.examples() if e.language == "json"]
    body = {"model": "latest", "prompt": "a", "temperature": 3}
    assert (await server.client.post("/v1/completions", json=body)).json() == printed


@pytest.mark.timeout(60)
def test_the_printed_command_makes_a_key_file_for_its_owner_only(tmp_path: Path):
    (adds,) = [e for e in doc_examples.examples() if "--add-key" in e.text]
    done = adds.run("", "", tmp_path)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = identify(parse_key_file(file.read_text()), done.stdout.strip())
    assert found is not None
    assert (found.name, found.scope) == ("alice", "probe")
