"""The examples of the documentation: found in its fenced blocks, and run as a reader would run them. No tests here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/http.md", "docs/probe.md")
ADDRESS = "http://127.0.0.1:8000"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One fenced block of a page. `line` is where its text begins."""

    page: str
    line: int
    language: str
    text: str

    def run(self, url: str, key: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the block in `folder` with a shell or Python, against the server at `url`; at most a minute."""
        text = self.text.replace(ADDRESS, url)
        command = [sys.executable, "-c", text] if self.language == "python" else ["bash", "-euc", text]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = os.environ | {"INTERPLAY_KEY": key, "PATH": path}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def examples() -> list[Example]:
    """Every fenced block of the pages, in order."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            found.append(Example(page, text[: match.start(2)].count("\n") + 1, match[1], match[2]))
    return found


def requests() -> list[Example]:
    """Those that ask a server: every curl, and every Python block."""
    return [e for e in examples() if e.language == "python" or (e.language == "bash" and "curl" in e.text)]
