"""The pages "Bring your own problems", "... reward" and "... model", done as a reader does them.

The code and the settings are the pages' own blocks. Everything is typed in a folder that is no checkout, with the
console script: one run takes a model of nobody's run, pre-trains it on the reader's problems, reinforces it with the
reader's reward and measures it; then its model is exported, measured by hand, served, and looked at on the page.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, expect

from actors.config import PolicyConfig, TokenizerConfig
from actors.policy.model import build, save
from actors.policy.tokenizer import build_tokenizer
from actors.telemetry import read_events
from tests.web.conftest import Opener

DOCS = Path(__file__).parents[2] / "docs"
EXPORTED = "models/rl-2"
SCRIPT = str(Path(sys.executable).parent / "interplay")
DEADLINE_S = 900.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def block(page: str, language: str, beginning: str) -> str:
    """The block of a page that begins like this."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(beginning)]
    return found


TASK = yaml.safe_load(block("problems.md", "yaml", "task: {family: python"))["task"]
REWARD = yaml.safe_load(block("rewards.md", "yaml", "- kind: rl"))[0]["rl"]["reward"]
BASE = yaml.safe_load(block("models.md", "yaml", "stages:"))["stages"][0]
PRETRAIN = {"task": TASK, "steps": 30, "documents_per_step": 32, "checkpoint_every": 30}
RL = {
    "task": TASK, "steps": 2, "prompts_per_step": 4, "group_size": 4, "refills": 0, "max_tokens": 8, "reward": REWARD,
    "checkpoint_every": 1, "learning": {"optimizer": {"learning_rate": 1e-4}},
}  # fmt: skip
RECIPE = {
    "name": "own",
    "description": "one's own model, problems and reward",
    "seed": 0,
    "engine": {"backend": "torch"},
    "fleet": {"rollout_workers": 1, "rollout_cpus": 0.5, "reward_workers": 1},
    "stages": [
        {**BASE, "base": "models/theirs"},
        {"name": "pretrain", "kind": "pretrain", "train": PRETRAIN},
        {"name": "rl", "kind": "rl", "rl": RL},
        {
            "name": "measured",
            "kind": "eval",
            "eval": {"task": TASK, "problems": 3, "target_problems": 3, "samples": 2, "max_tokens": 8},
        },
        {"name": "report", "kind": "report"},
    ],
}


def save_a_model(into: Path) -> None:
    """A transformers directory as somebody else makes one, without a manifest: one layer, random weights."""
    sums = [f"2 * {number} = {2 * number}" for number in range(100)]
    tokenizer = build_tokenizer(TokenizerConfig(kind="byte-pair", vocab_size=300), sums)
    size = PolicyConfig(architecture="llama", layers=1, hidden=64, ffn=128, heads=2, kv_heads=2, max_positions=64)
    into.mkdir(parents=True)
    save(build(size, len(tokenizer), 0), tokenizer, into)


@dataclass(frozen=True)
class Folder:
    """Where the reader works."""

    path: Path

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the reader's, in that folder alone."""
        return subprocess.run(
            [SCRIPT, *words], cwd=self.path, env=_environ(), capture_output=True, text=True, timeout=DEADLINE_S
        )

    def does(self, *words: str) -> str:
        """As `types`, and it works."""
        done = self.types(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


def _environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "PYTHONPATH"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The reader's folder after the run."""
    path = tmp_path_factory.mktemp("own")
    (path / "my_problems.py").write_text(block("problems.md", "python", "from verifier.judgement"))
    (path / "my_rewards.py").write_text(block("rewards.md", "python", "def short"))
    (path / "own.yaml").write_text(json.dumps(RECIPE))  # JSON is YAML
    save_a_model(path / "models" / "theirs")
    own = Folder(path)
    own.does("run", "own.yaml", "--run-dir", "runs/own")
    return own


def test_every_stage_learns_and_tells_by_the_strata_of_the_readers_problems(folder: Folder) -> None:
    events = [dict(e) for e in read_events(folder.path / "runs" / "own" / "metrics.jsonl")]
    steps = [e for e in events if e["event"] == "rl_step"]
    assert [e["step"] for e in steps] == [1, 2]
    assert all("outcome" in e and "strict" not in e for e in steps)
    assert all(e["verifier_errors"] == 0 for e in events if e["event"] == "fleet")
    report = json.loads((folder.path / "runs" / "own" / "report.json").read_text())
    assert list(report["eval"]["before"]) == ["digits 1", "digits 2"]
    assert "digits 1" in (folder.path / "runs" / "own" / "report.html").read_text()


def test_eval_asks_the_readers_problems_once_the_reader_names_them(folder: Folder) -> None:
    sizes = ("--problems", "2", "--samples", "2", "--max-tokens", "8", "engine.backend=torch")
    refused = folder.types("eval", "runs/own", *sizes)
    assert refused.returncode == 2
    assert "fix: If you trust it, name it: --task my_problems:Doubling" in refused.stderr
    folder.does("export", "runs/own", "--to", "models")
    table = folder.does("eval", EXPORTED, "--task", TASK["object"], *sizes)
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [["digits", "1"], ["digits", "2"]]
    assert "answer@2" in table


@pytest.fixture(scope="module")
def served(folder: Folder) -> Iterator[tuple[str, str]]:
    """The address of the served run and its key."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = str(trial.getsockname()[1])
    words = [SCRIPT, "serve", "runs/own", "--task", TASK["object"], "--port", port]
    log = folder.path / "serve.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            words, cwd=folder.path, env=_environ(), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        said = process.stdout.readline() + process.stdout.readline()
        found = re.search(r"at (http://\S+)\nkey for this start \(admin\): (\S+)\n", said)
        assert found, said + log.read_text()
        yield found[1], found[2]
    finally:
        process.terminate()
        process.wait(120)
        process.stdout.close()


def ask(served: tuple[str, str], method: str, path: str, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {served[1]}"}
    answer = httpx.request(method, served[0] + path, headers=headers, timeout=200, json=body or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_served_run_asks_the_readers_problems_and_the_page_shows_the_text_with_its_judgement(
    served: tuple[str, str], chromium: Browser
) -> None:
    task = ask(served, "GET", "/v1/probe/task")
    assert (task["family"], [s["name"] for s in task["strata"]]) == ("python", ["digits=1", "digits=2"])
    item = {"stratum": "digits=1", "seed": 2}
    asked = ask(served, "POST", "/v1/probe/items", **item)
    judged = ask(served, "POST", "/v1/probe/verify", item=item, text=asked["gold"])
    assert (judged["judgement"]["outcome"], judged["judgement"]["verified"]) == (True, None)
    opener = Opener(chromium, f"{served[0]}/", key=served[1])
    page = opener("#solve?seed=2&model=latest&go=1")
    expect(page.get_by_role("heading", name=asked["prompt"])).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("^(Right|Wrong) answer"))).to_be_visible()
    expect(page.locator(".graph-card")).to_be_hidden()
    opener.close()
