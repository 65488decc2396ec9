from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.heads import Head, ray_head


@pytest.fixture(scope="package")
def head() -> Iterator[Head]:
    """One cluster for all tests that send jobs; it asks for a token."""
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    with ray_head(folder) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)
