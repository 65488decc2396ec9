"""The console examples of the documentation, run again; `python -m tests.golden.docs_examples` writes their outputs.

A block that opens with ```console holds commands after "$ " and below each what it prints, standard error included. All
blocks of a page run in one shell in an empty folder, so that a later one finds the files of an earlier one.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("tasks.md", "verifier.md")
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PROMPT = "$ "
MARK = "\x1e"  # between the outputs of two commands


def rendered(page: str) -> str:
    """The page with the outputs that its commands print now."""
    outputs = iter(_run([line for block in BLOCK.findall(page) for line in block.splitlines() if _is_command(line)]))

    def told(block: re.Match[str]) -> str:
        return "".join(f"{line}\n{next(outputs)}" for line in block[0].splitlines() if _is_command(line))

    return BLOCK.sub(told, page)


def _is_command(line: str) -> bool:
    return line.startswith(PROMPT)


def _run(commands: list[str]) -> list[str]:
    script = "".join(f"{command.removeprefix(PROMPT)}\nprintf '{MARK}'\n" for command in commands)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["bash"], input=script, cwd=folder, env=environ, text=True, timeout=1100, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return done.stdout.split(MARK)[: len(commands)]


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(rendered((DOCS / name).read_text(encoding="utf-8")), encoding="utf-8")
