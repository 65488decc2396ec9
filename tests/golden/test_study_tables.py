"""The published pages of studies show what their data say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.study_tables import pages, rendered


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_tables_of_a_published_study_are_those_of_its_data(page: Path):
    assert page.read_text(encoding="utf-8") == rendered(page)
