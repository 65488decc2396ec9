"""The same GRPO steps by TRL and by us, on the same two cores: samples per second, step time, memory.

    python -m benchmarks.trl_compare inputs --to DIR                          (our environment)
    TRL_PYTHON benchmarks/trl_compare.py trl  --inputs DIR --run A|B          (an environment with trl==1.16.0)
    python -m benchmarks.trl_compare ours --inputs DIR --run A|B

Specification: 8 prompts x 8 completions a step, temperature 1, no KL, one inner epoch, microbatches of 16 completions,
AdamW 1e-5, clip 0.2, gradient norm 1, token-normalised loss, fp32, 3 warm-up steps, then `--steps` timed ones.
Run A: a random model (4 layers, width 256, vocabulary 2200), prompts of exactly 64 tokens, exactly 64 new ones.
Run B: the shipped base on its own task, natural ends, at most 128 new tokens.
TRL is one process of two threads; ours is Ray, a vLLM engine, a reward worker and a DeepSpeed learner on the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROMPTS, PROMPTS_PER_STEP, GROUP, WARM_UP = 512, 8, 8, 3
NEW_TOKENS = {"A": 64, "B": 128}


def main() -> None:
    """Run one side and print one JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["inputs", "trl", "ours"])
    parser.add_argument("--to", type=Path)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--run", choices=["A", "B"])
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    if given.side == "inputs":
        make_inputs(given.to)
    elif given.side == "trl":
        report("trl", given.run, *run_trl(given.inputs, given.run, given.steps))
    else:
        report("ours", given.run, *asyncio.run(run_ours(given.inputs, given.run, given.steps)))


def make_inputs(folder: Path) -> None:
    """Two model directories and two files of prompts (records of problem, question, solution and prompt text)."""
    from actors.checkpoint import CheckpointStore
    from actors.config import PolicyConfig, TokenizerConfig
    from actors.policy import build, save
    from actors.tokenizer import build_tokenizer
    from trainers.pretrain import corpus
    from trainers.tasks import TaskConfig
    from verifier.render import prompt_text
    from verifier.tasks import stream

    folder.mkdir(parents=True, exist_ok=True)
    tasks = TaskConfig(ops=(2, 3, 4), max_facts=4)
    tokenizer = build_tokenizer(TokenizerConfig(kind="byte-pair"), corpus(tasks, 0))
    size = PolicyConfig(layers=4, hidden=256, ffn=512, heads=4, kv_heads=2, max_positions=512)
    save(build(size, 2200, 0), tokenizer, folder / "A")
    store = CheckpointStore(ROOT / "cluster" / "bases" / "tiny-base")
    base = store.latest()
    assert base is not None
    CheckpointStore(folder / "B").adopt(store, base.id)
    problems = stream(tasks.mixture(), 1, "train")
    with (folder / "prompts.jsonl").open("w") as out:
        for problem, _ in zip(problems, range(PROMPTS), strict=False):
            record = {"problem": problem.problem, "question": problem.question, "solution": problem.solution}
            out.write(json.dumps(record | {"prompt": prompt_text(problem.problem, problem.question)}) + "\n")


def model_dir(folder: Path, run: str) -> Path:
    """The transformers directory of a run."""
    return folder / "A" if run == "A" else next((folder / "B").glob("*-*"))


def read_prompts(folder: Path) -> list[dict[str, str]]:
    """The fixed prompts with their problems."""
    return [json.loads(line) for line in (folder / "prompts.jsonl").open()]


def run_trl(folder: Path, run: str, steps: int) -> tuple[list[float], float, int]:
    """TRL's GRPOTrainer: seconds of each timed step, seconds of start-up, resident bytes."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.path.insert(0, str(ROOT))
    started = time.monotonic()
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from verifier.verify import prepare, verify

    torch.set_num_threads(2)
    path = model_dir(folder, run)
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = read_prompts(folder)
    if run == "A":
        for row in rows:
            ids = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            row["prompt"] = tokenizer.decode((ids * 64)[:64])
    golds = {row["prompt"]: prepare(row["problem"], row["question"], row["solution"]) for row in rows}

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(verify(c, golds[p]).verified) for p, c in zip(prompts, completions, strict=True)]

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())

    config = GRPOConfig(
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
        generation_kwargs={"min_new_tokens": 64} if run == "A" else {"eos_token_id": tokenizer.eos_token_id},
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    start_up = time.monotonic() - started
    trainer.train()
    return [b - a for a, b in pairwise(ends)][WARM_UP - 1 :], start_up, resident_bytes()


async def run_ours(folder: Path, run: str, steps: int) -> tuple[list[float], float, int]:
    """Our real actors under the same schedule: the same three figures."""
    import tempfile

    from actors.config import EngineConfig, PoolConfig
    from actors.pool import WorkerPool
    from actors.records import GroupRequest, Sampling
    from actors.seeds import derive
    from actors.tokenizer import EOS, load_tokenizer
    from cluster.environment import actor_env, cache_folder
    from cluster.resources import Resources
    from cluster.runtime import running
    from trainers.batch import pack
    from trainers.config import LearnerConfig, LearningConfig, LossConfig, OptimizerConfig
    from trainers.worker import LearnerGroup, LearnerPlan, Placement
    from verifier.generate import generate
    from verifier.problem import ProblemSpec
    from verifier.reward import Scheme

    started = time.monotonic()
    path = model_dir(folder, run)
    rows = read_prompts(folder)
    tokenizer = load_tokenizer(path)
    prompts = [tuple(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]) for row in rows]
    if run == "A":
        prompts = [(ids * 64)[:64] for ids in prompts]
    placeholder = generate(ProblemSpec(op=2), 0)
    from dataclasses import replace

    problems = [
        replace(placeholder, problem=row["problem"], question=row["question"], solution=row["solution"]) for row in rows
    ]
    learning = LearningConfig(
        optimizer=OptimizerConfig(learning_rate=1e-5), clip_high=0.2, microbatch_tokens=16 * (64 + NEW_TOKENS[run])
    )
    sampling = Sampling(NEW_TOKENS[run], stop_token_ids=() if run == "A" else (EOS,))
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch), Resources(1.0)):
        cache = cache_folder(os.environ)
        engine = EngineConfig(max_open_requests=64, threads=2)
        pool = WorkerPool(path, engine, PoolConfig(), actor_env(cache, 2))
        env = {**actor_env(cache, 2), "DS_ACCELERATOR": "cpu"}
        plan = LearnerPlan(LearnerConfig(learning.optimizer, LossConfig("dapo", 0.2, 0.2), 1000), path, path)
        learner = LearnerGroup(plan, Placement(1, 0.1, 0, env, Path(scratch)))
        await asyncio.gather(learner.start(), pool.start())
        await pool.sync(await learner.publish(0))
        start_up = time.monotonic() - started
        for step in range(WARM_UP + steps):
            began = time.monotonic()
            chosen = [(step * PROMPTS_PER_STEP + i) % PROMPTS for i in range(PROMPTS_PER_STEP)]
            requests = [GroupRequest(i, derive(0, step, i), prompts[i], GROUP, sampling) for i in chosen]
            scheme = Scheme("strict")
            groups = await asyncio.gather(*(pool.rollout(r, problems[r.group_id], scheme) for r in requests))
            await learner.step(pack(groups, learning))
            await pool.sync(await learner.publish(step + 1))
            seconds.append(time.monotonic() - began)
        memory = resident_bytes()
        await asyncio.gather(learner.stop(), pool.close())
    return seconds[WARM_UP:], start_up, memory


def resident_bytes() -> int:
    """Proportional set size of this process and all below it: shared pages are counted once."""
    import psutil

    here = psutil.Process()
    return sum(p.memory_full_info().pss for p in [here, *here.children(recursive=True)])


def report(side: str, run: str, seconds: list[float], start_up: float, memory: int) -> None:
    """Print the figures of one side."""
    samples = PROMPTS_PER_STEP * GROUP
    ordered = sorted(seconds)
    record = {
        "side": side,
        "run": run,
        "steps": len(seconds),
        "samples_per_s": round(samples / statistics.median(seconds), 1),
        "step_p50_s": round(statistics.median(seconds), 3),
        "step_p90_s": round(ordered[int(0.9 * (len(ordered) - 1))], 3),
        "start_up_s": round(start_up, 1),
        "memory_mib": memory // 1024**2,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
