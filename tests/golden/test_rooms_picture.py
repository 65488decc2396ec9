"""The picture of the rooms shows what the import contracts say now."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.golden.rooms_picture import PICTURE, ROOT, drawn


def test_the_picture_is_of_the_contracts_as_they_are():
    assert PICTURE.read_text(encoding="utf-8") == drawn(), "draw it anew: python -m tests.golden.rooms_picture"


def test_every_folder_of_the_packages_is_in_the_picture():
    words = " ".join(text for text in ET.fromstring(drawn()).itertext()).replace(",", " ").split()
    folders = {path.parent.name for path in ROOT.glob("*/*/__init__.py") if path.parts[-3] in words}
    assert {"diagnosis", "rollouts", "evaluation", "compare", "graphs"} <= folders
    assert folders <= set(words)
