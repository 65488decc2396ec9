import re
from dataclasses import fields
from pathlib import Path

from actors.telemetry import METRICS
from serving.http.metrics import Metrics
from trainers.pretrain.pretrain import TrainingProgress
from trainers.records import StepReport
from verifier.families import FAMILIES
from verifier.judgement import Judgement
from verifier.python.family import PythonConfig
from verifier.rewards.registry import NAMES, Reward, reward

DOCS = Path(__file__).parents[3] / "docs"


def example(page: str, folder: Path, module: str) -> str:
    """Writes the page's Python example as a module and returns its name."""
    code = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (folder / f"{module}.py").write_text("\n".join(code))
    return module


def test_every_exported_metric_and_step_field_is_in_the_glossary():
    page = (DOCS / "metrics.md").read_text()
    actors = (f"| `{m.name}` | {m.kind} | {', '.join(m.labels) or '-'} | {m.description} |" for m in METRICS)
    server = (f"| `{m.name}` | {m.type} | {m.documentation} |" for m in Metrics().registry.collect())
    missing = [row for row in (*actors, *server) if row not in page]
    assert not missing, "put these rows into docs/metrics.md"
    told = {field.name for field in (*fields(StepReport), *fields(TrainingProgress))} - {"logprobs"}  # kept, not told
    for name in told:
        assert f"`{name}`" in page


def test_every_family_and_reward_is_in_its_page():
    assert all(f"| `{family}` |" in (DOCS / "problems.md").read_text() for family in FAMILIES)
    assert all(f"| `{name}` |" in (DOCS / "rewards.md").read_text() for name in NAMES)


def test_the_example_of_your_own_problems_keeps_every_promise(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    task = PythonConfig(object=f"{example('problems.md', tmp_path, 'documented_problems')}:Doubling").task()
    ids = {
        split: {task.item(s, 0, i, split).id for s in task.strata() for i in range(99)} for split in ("train", "test")
    }
    assert not ids["train"] & ids["test"]


def test_the_example_of_your_own_reward_can_be_computed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"{example('rewards.md', tmp_path, 'documented_rewards')}:short"
    task = PythonConfig(object=f"{example('problems.md', tmp_path, 'documented_problems_too')}:Doubling").task()
    item = task.item(task.strata()[0], 0, 0, "train")
    assert reward(Judgement(right=True), item, "x" * 400, [Reward(name)]) == 0.5
