from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.config import engine_env
from tests.integration.heads import Head, ray_head
from tests.tiny import ENGINE, save_tiny


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy's folder, in a process that has what an engine needs in its environment."""
    os.environ.update(engine_env(ENGINE))
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="package")
def head() -> Iterator[Head]:
    """One cluster for all tests that send jobs; it asks for a token."""
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    with ray_head(folder) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)
