"""The same GRPO steps by TRL and by us, on the same two cores: samples per second, step time, memory.

    python -m benchmarks.trl_compare inputs --to DIR
    python -m benchmarks.trl_compare both --inputs DIR --trl-python PYTHON

PYTHON belongs to an environment with trl==1.16.0 and psutil. `both` runs the sides in turn, three times for each of
runs A and B, and prints medians; `trl` and `ours` run one side once.

Specification: 8 prompts x 8 completions a step, temperature 1, no KL, one inner epoch, microbatches of 16 completions,
AdamW 1e-5, clip 0.2, gradient norm 1, token-normalised loss, fp32, 3 warm-up steps, then `--steps` timed ones.
Run A: a random model (4 layers, width 256, vocabulary 2200), prompts of exactly 64 tokens, exactly 64 new ones.
Run B: the shipped base on its own task, natural ends, at most 128 new tokens.
TRL is one process of two threads. Ours has the fleet of the recipe tiny-cpu on the same two cores: Ray, two vLLM
engines of one thread, a reward worker and a DeepSpeed learner of two threads, which wait for one another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.workers.fleet import Fleet
    from trainers.learner_group.handle import LearnerGroup
    from verifier.graphs.family import GraphsConfig

ROOT = Path(__file__).resolve().parent.parent
PROMPTS, PROMPTS_PER_STEP, GROUP, WARM_UP, REPEATS = 512, 8, 8, 3, 3
NEW_TOKENS = {"A": 64, "B": 128}


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one side. Seconds per step, and what the whole process tree holds at the end, shared pages once."""

    side: str
    run: str
    samples_per_s: float
    step_p50_s: float
    step_p90_s: float
    start_up_s: float
    memory_mib: int
    cpu_s_per_step: float

    @classmethod
    def of(cls, side: str, run: str, seconds: list[float], start_up: float, cpu: float) -> Figures:
        """From the timed steps; `cpu` is what the process tree spent on them."""
        ordered = sorted(seconds)
        median = statistics.median(seconds)
        return cls(
            side=side,
            run=run,
            samples_per_s=round(PROMPTS_PER_STEP * GROUP / median, 1),
            step_p50_s=round(median, 3),
            step_p90_s=round(ordered[int(0.9 * (len(ordered) - 1))], 3),
            start_up_s=round(start_up, 1),
            memory_mib=resident_bytes() // 1024**2,
            cpu_s_per_step=round(cpu / len(seconds), 2),
        )


def main() -> None:
    """Make the inputs, run one side and print one JSON record, or run both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["inputs", "trl", "ours", "both"])
    parser.add_argument("--to", type=Path)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--run", choices=["A", "B"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--trl-python", type=Path)
    given = parser.parse_args()
    if given.side == "inputs":
        make_inputs(given.to)
    elif given.side == "both":
        compare(given.inputs, given.trl_python, given.steps)
    elif given.side == "trl":
        print(json.dumps(asdict(run_trl(given.inputs, given.run, given.steps))))
    else:
        print(json.dumps(asdict(asyncio.run(run_ours(given.inputs, given.run, given.steps)))))


def compare(folder: Path, trl_python: Path, steps: int) -> None:
    """Alternate the sides, so that a change of the machine's load meets both; medians over the repeats."""
    commands = {"trl": [str(trl_python), __file__], "ours": [sys.executable, "-m", "benchmarks.trl_compare"]}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for repeat in range(REPEATS):
        for run in ("A", "B"):
            for side in sorted(commands, reverse=repeat % 2 == 0):
                arguments = [side, "--inputs", str(folder), "--run", run, "--steps", str(steps)]
                command = [*commands[side], *arguments]
                done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
                record = done.stdout.splitlines()[-1]
                found.setdefault((run, side), []).append(json.loads(record))
                print(record, file=sys.stderr, flush=True)
    for run in ("A", "B"):
        rates = {side: [r["samples_per_s"] for r in found[run, side]] for side in commands}
        print(f"run {run}: ours / TRL = {statistics.median(rates['ours']) / statistics.median(rates['trl']):.2f}")
        for side, each in rates.items():
            records = found[run, side]
            medians = {k: statistics.median(r[k] for r in records) for k in records[0] if k not in ("side", "run")}
            print(f"  {side:<5} {medians}  samples/s {min(each)} to {max(each)}")


def make_inputs(folder: Path) -> None:
    """Two model directories and two files of prompts (records of problem, question, solution and prompt text)."""
    from actors.config import PolicyConfig, TokenizerConfig
    from actors.policy.checkpoint import CheckpointStore
    from actors.policy.model import build, save
    from actors.policy.tokenizer import build_tokenizer
    from trainers.pretrain.items import corpus
    from verifier.graphs.splits import stream
    from verifier.graphs.tell import prompt_text

    folder.mkdir(parents=True, exist_ok=True)
    tasks = asked_task()
    tokenizer = build_tokenizer(TokenizerConfig(kind="byte-pair"), corpus(tasks, 0))
    size = PolicyConfig(layers=4, hidden=256, ffn=512, heads=4, kv_heads=2, max_positions=512)
    save(build(size, 2200, 0), tokenizer, folder / "A")
    store = CheckpointStore(ROOT / "cluster" / "bases" / "tiny-base")
    base = store.latest()
    assert base is not None
    CheckpointStore(folder / "B").adopt(store, base.id)
    problems = stream(tasks.grid(), 1, "train")
    with (folder / "prompts.jsonl").open("w") as out:
        for problem, _ in zip(problems, range(PROMPTS), strict=False):
            record = {"problem": problem.problem, "question": problem.question, "solution": problem.solution}
            out.write(json.dumps(record | {"prompt": prompt_text(problem.problem, problem.question)}) + "\n")


def asked_task() -> GraphsConfig:
    """The problems that both sides are asked."""
    from verifier.graphs.family import GraphsConfig

    return GraphsConfig(ops=(2, 3, 4), max_facts=4)


def model_dir(folder: Path, run: str) -> Path:
    """The transformers directory of a run."""
    return folder / "A" if run == "A" else next((folder / "B").glob("*-*"))


def read_prompts(folder: Path) -> list[dict[str, str]]:
    """The fixed prompts with their problems."""
    return [json.loads(line) for line in (folder / "prompts.jsonl").open()]


def run_trl(folder: Path, run: str, steps: int) -> Figures:
    """TRL's GRPOTrainer."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.path.insert(0, str(ROOT))  # for the verifier, which needs nothing of our environment
    started = time.monotonic()
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports]  # of the other environment
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOTrainer  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(2)
    path = model_dir(folder, run)
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = read_prompts(folder)
    if run == "A":
        for row in rows:
            ids = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            row["prompt"] = tokenizer.decode((ids * 64)[:64])
    ends: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append((time.monotonic(), cpu_seconds()))

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        reward_funcs=trl_reward(rows),
        args=trl_config(folder, run, steps, tokenizer.eos_token_id),
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    start_up = time.monotonic() - started
    trainer.train()
    timed = ends[WARM_UP - 1 :]
    return Figures.of("trl", run, [b[0] - a[0] for a, b in pairwise(timed)], start_up, timed[-1][1] - timed[0][1])


def trl_reward(rows: list[dict[str, str]]) -> Callable[..., list[float]]:
    """The strict reward by our verifier, as TRL calls one."""
    from verifier.graphs.judge.judge import prepare, verify

    golds = {row["prompt"]: prepare(row["problem"], row["question"], row["solution"]) for row in rows}

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(verify(c, golds[p]).verified) for p, c in zip(prompts, completions, strict=True)]

    return reward


def trl_config(folder: Path, run: str, steps: int, end: int) -> Any:
    """The specification in TRL's words."""
    from trl import GRPOConfig  # pyright: ignore[reportMissingImports]

    return GRPOConfig(
        output_dir=str(folder / "trl-output"),
        use_vllm=False,
        use_cpu=True,
        bf16=False,
        beta=0.0,
        num_generations=GROUP,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=4,
        max_completion_length=NEW_TOKENS[run],
        loss_type="dapo",
        num_iterations=1,
        learning_rate=1e-5,
        max_grad_norm=1.0,
        temperature=1.0,
        max_steps=WARM_UP + steps,
        logging_steps=1000,
        save_strategy="no",
        report_to=[],
        generation_kwargs={"min_new_tokens": 64} if run == "A" else {"eos_token_id": end},
    )


async def run_ours(folder: Path, run: str, steps: int) -> Figures:
    """Our real actors under the same schedule."""
    from actors.workers.drivers import ray_fleet
    from cluster.ray.environment import actor_env, cache_folder, process_env
    from cluster.ray.resources import Resources
    from cluster.ray.runtime import running
    from cluster.recipe.load import load
    from trainers.learner_group.handle import LearnerGroup
    from trainers.learner_group.placement import Placement
    from trainers.learner_group.rank import LearnerPlan

    started = time.monotonic()
    path = model_dir(folder, run)
    learning = our_learning(run)
    demo = load("tiny-cpu")
    os.environ.update(process_env(cache_folder(os.environ)))
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch), Resources(2.0)):
        cache = cache_folder(os.environ)
        fleet = ray_fleet(path, demo.engine, demo.fleet, actor_env(cache, demo.engine.threads))
        plan = LearnerPlan(learning.learner_config(1000), path, path)
        env = {**actor_env(cache, demo.learner.threads), "DS_ACCELERATOR": "cpu"}
        learner = LearnerGroup(plan, Placement("learner", 1, demo.learner.cpus, 0, env))
        fleet.start()
        await learner.start()
        await fleet.sync(await learner.publish(0))
        start_up = time.monotonic() - started
        figures = await our_steps(folder, run, steps, fleet, learner, start_up)
        await asyncio.gather(learner.stop(), fleet.close())
    return figures


async def our_steps(
    folder: Path, run: str, steps: int, fleet: Fleet, learner: LearnerGroup, start_up: float
) -> Figures:
    """Generate and judge, learn, sync: the warm-up and the timed steps."""
    from actors.policy.tokenizer import EOS, load_tokenizer
    from actors.records import GroupRequest, JudgeRequest, Sampling
    from trainers.learner.packing import pack
    from verifier.graphs.family import problem_of
    from verifier.rewards.registry import Reward
    from verifier.seeds import derive

    rows = read_prompts(folder)
    tokenizer = load_tokenizer(model_dir(folder, run))
    prompts = [tuple(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]) for row in rows]
    if run == "A":
        prompts = [(ids * 64)[:64] for ids in prompts]
    graphs = asked_task()
    task = graphs.task()
    some = task.item(task.strata()[0], 0, 0, "train")
    told = [{k: row[k] for k in ("problem", "question", "solution")} for row in rows]
    items = [replace(some, id=str(i), payload=replace(problem_of(some), **each)) for i, each in enumerate(told)]
    judging = [JudgeRequest(graphs, item, (Reward("strict"),)) for item in items]
    sampling = Sampling(NEW_TOKENS[run], stop_token_ids=() if run == "A" else (EOS,))
    ends = [(0.0, 0.0)] * (WARM_UP + steps)
    for step in range(WARM_UP + steps):
        chosen = [(step * PROMPTS_PER_STEP + i) % PROMPTS for i in range(PROMPTS_PER_STEP)]
        requests = [GroupRequest(i, derive(0, step, i), prompts[i], GROUP, sampling) for i in chosen]
        groups = await asyncio.gather(*(fleet.rollout(r, judging[r.group_id]) for r in requests))
        await learner.step(pack(groups, our_learning(run), NEW_TOKENS[run]))
        await fleet.sync(await learner.publish(step + 1))
        ends[step] = (time.monotonic(), cpu_seconds())
    timed = ends[WARM_UP - 1 :]
    return Figures.of("ours", run, [b[0] - a[0] for a, b in pairwise(timed)], start_up, timed[-1][1] - timed[0][1])


def our_learning(run: str) -> Any:
    """The specification in our words."""
    from trainers.config import LearningConfig, OptimizerConfig

    longest = 64 + NEW_TOKENS[run]
    return LearningConfig(optimizer=OptimizerConfig(learning_rate=1e-5), clip_high=0.2, microbatch_tokens=16 * longest)


def _tree() -> list[Any]:
    import psutil

    here = psutil.Process()
    return [here, *here.children(recursive=True)]


def cpu_seconds() -> float:
    """User and system time of this process and all below it."""
    return sum(sum(p.cpu_times()[:2]) for p in _tree())


def resident_bytes() -> int:
    """Proportional set size of this process and all below it: shared pages are counted once."""
    return sum(p.memory_full_info().pss for p in _tree())


if __name__ == "__main__":
    main()
