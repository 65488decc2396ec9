"""Fixtures shared by all tests: one Ray per session, and the conformance data.

Nothing here writes to the home folder or reaches the network.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from cluster.ray.environment import actor_env, process_env, thread_env

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE = Path(os.environ.get("INTERPLAY_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
NO_CONFORMANCE = f"no conformance data at {CONFORMANCE}; set INTERPLAY_CONFORMANCE to the folder that holds it"

# Before torch, vLLM or Ray are imported by any test module.
os.environ.update(process_env(ROOT / ".cache"))
os.environ.update(thread_env(1))
os.environ["RAY_AUTH_MODE"] = "token"
# Ray's default of 15 leaves its workers nothing while anything else runs, and tests time out.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

# A busy machine is no failure: the time of one example says nothing here, the limit is that of the whole test.
hypothesis.settings.register_profile("interplay", deadline=None)
hypothesis.settings.load_profile("interplay")

_skipped_for_conformance: list[str] = []


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Path]:
    """A real local Ray of four logical CPUs with token authentication, shared by the whole session.

    Yields its temporary folder. Actors carry names in the namespace `interplay`: give each test its own names.
    """
    from cluster.ray.local import local_ray, ray_folder

    environment = {**actor_env(ROOT / ".cache", 1), "PYTHONPATH": str(ROOT)}
    with ray_folder() as folder, local_ray(folder, 4, 0, environment, object_store_bytes=512 * 1024**2):
        yield folder


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder of problems and judgements with the reference's answers; skips where it is absent."""
    if not (CONFORMANCE / "problems.jsonl.gz").is_file():
        pytest.skip(NO_CONFORMANCE)
    return CONFORMANCE


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that of two processes none is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers the tests that the missing data kept from running."""
    if report.skipped and isinstance(report.longrepr, tuple) and NO_CONFORMANCE in report.longrepr[2]:
        _skipped_for_conformance.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line that the conformance tests did not run, so that a green summary does not hide it."""
    if _skipped_for_conformance:
        count = len(_skipped_for_conformance)
        terminalreporter.write_line(f"{count} conformance tests did NOT run: {NO_CONFORMANCE}", yellow=True)
