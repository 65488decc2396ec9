"""What one GPU does: pre-training tokens/s and MFU, and whole GRPO loops with their weight syncs and parity.

    python -m benchmarks.gpu --out gpu.json              # on a GPU, in the environment of requirements/gpu.txt
    python -m benchmarks.gpu --out smoke.json --small    # on a CPU, tiny sizes: does the script work?

Each part is a process with a time limit of its own; a part that fails or is late leaves its error in its place, and the
others go on. The result is one JSON with the machine, and a dictionary a part. Models have random weights and a
byte-pair vocabulary of 2,200 tokens, that of `0.5b` one of 151,936, so completions seldom end before they are cut off:
samples/s of the `grpo` parts are for completions of the full length. How fast a trained policy with natural ends is
says the recipe itself: `interplay run gpu-13m`, events `rl_step` of its metrics.jsonl.

MFU is the FLOPs of the step (three times a forward pass, attention included, nothing for recomputation) over its
seconds and the dense bfloat16 peak of the card; it is left out for a card that is not in PEAK.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.config import PolicyConfig
from actors.telemetry import read_events

ROOT: Final = Path(__file__).resolve().parent.parent
PEAK: Final = {"H100": 989e12, "H200": 989e12}  # dense bfloat16 of the SXM cards [FLOP/s]
WARM_UP: Final = 2


@dataclass(frozen=True, slots=True)
class Size:
    """A model, and how much of it a step computes."""

    policy: PolicyConfig
    vocab: int
    context: int
    microbatch_tokens: int
    microbatches: int
    prompts: int
    max_tokens: int


TINY: Final = Size(PolicyConfig(layers=2, hidden=32, ffn=64, heads=2, kv_heads=1), 600, 64, 256, 2, 4, 16)
LITTLE: Final = PolicyConfig(layers=8, hidden=320, ffn=1280, heads=5, kv_heads=5, max_positions=2048)
PAPER: Final = PolicyConfig(layers=12, hidden=768, ffn=3072, heads=12, kv_heads=2, max_positions=2048)
QWEN_HALF_B: Final = PolicyConfig(layers=24, hidden=896, ffn=4864, heads=14, kv_heads=2, max_positions=2048)
SIZES: Final = {
    "13m": Size(LITTLE, 2200, 2048, 65_536, 4, 256, 1024),
    "100m": Size(PAPER, 2200, 2048, 32_768, 8, 256, 1024),
    "0.5b": Size(QWEN_HALF_B, 151_936, 1024, 8192, 4, 64, 512),
}
LIMITS_S: Final = {
    "look": 60,
    "pretrain-13m": 90,
    "pretrain-100m": 120,
    "grpo-13m": 240,
    "grpo-100m": 300,
    "grpo-0.5b": 400,
}


def look() -> dict[str, Any]:
    """The machine and the versions that decide its numbers."""
    import deepspeed
    import ray
    import torch
    import transformers
    import vllm

    modules = (torch, transformers, vllm, deepspeed, ray)
    found: dict[str, Any] = {module.__name__: module.__version__ for module in modules}
    found |= {"python": platform.python_version(), "cores": len(os.sched_getaffinity(0)), "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        found["card"] = torch.cuda.get_device_name()
        found["card_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip()
    return found


def pretrain(size: Size) -> dict[str, Any]:
    """Steps of one rank on random texts that fill the context."""
    import torch

    from actors.policy.model import build
    from actors.policy.tokenizer import TokenizerConfig, build_tokenizer
    from trainers.config import LearnerConfig, OptimizerConfig
    from trainers.learner.learner import Learner
    from trainers.learner.packing import Document, pack_documents
    from trainers.learner.process_group import form_group_of_one

    form_group_of_one()
    on_gpu = torch.cuda.is_available()
    adam = OptimizerConfig(learning_rate=1e-4, precision="bfloat16" if on_gpu else "float32")
    policy, tokenizer = build(size.policy, size.vocab, 0), build_tokenizer(TokenizerConfig())
    learner = Learner(policy, tokenizer, LearnerConfig(adam, 100))
    draw = random.Random(0)  # noqa: S311 - reproducible, not secret
    texts = size.microbatch_tokens * size.microbatches // size.context
    documents = [Document(tuple(draw.choices(range(size.vocab), k=size.context)), 1) for _ in range(texts)]
    batch = pack_documents(documents, size.microbatch_tokens)
    for _ in range(WARM_UP):
        learner.step(batch)
    reports = [learner.step(batch) for _ in range(5)]
    seconds = statistics.median(report.seconds for report in reports)
    peak = next((p for name, p in PEAK.items() if on_gpu and name in torch.cuda.get_device_name()), None)
    return {
        "tokens_per_s": round(batch.tokens / seconds),
        "mfu": None if peak is None else round(reports[0].flops / seconds / peak, 3),
        "tokens": batch.tokens,
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
    }


def grpo(size: Size) -> dict[str, Any]:
    """A run of a base with random weights: whole steps, from the prompts to the synced engines."""
    with tempfile.TemporaryDirectory(prefix="interplay-gpu-") as folder:
        base, run = Path(folder) / "base", Path(folder) / "run"
        _save_base(size, base)
        recipe = Path(folder) / "loop.yaml"
        recipe.write_text(json.dumps(_recipe(size, base)))  # JSON is YAML
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "cluster", "run", str(recipe), "--run-dir", str(run)], cwd=ROOT, check=True
        )
        return {**_figures(list(read_events(run / "metrics.jsonl"))), "run_s": round(time.monotonic() - began, 1)}


def _figures(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the steps after the warm-up, and the worst of all syncs."""
    steps = [event for event in events if event["event"] == "rl_step"][WARM_UP:]
    syncs = [event for event in events if event["event"] == "sync"]

    def median(key: str) -> float:
        return round(statistics.median(step[key] for step in steps), 3)

    return {
        "samples_per_s": round(statistics.median(step["completions"] / step["step_s"] for step in steps), 2),
        "completion_tokens": median("completion_tokens"),
        **{key: median(key) for key in ("step_s", "generate_s", "learn_s", "sync_s", "mismatch_mean")},
        "sync_fetch_and_load_s": round(statistics.median(sync["fetch_s"] + sync["load_s"] for sync in syncs), 4),
        "pause_s": round(statistics.median(sync["pause_s"] for sync in syncs), 4),
        "parity_mean": max(sync["parity_mean_abs_diff"] for sync in syncs),
        "parity_largest": max(sync["parity_max_abs_diff"] for sync in syncs),
    }


def _save_base(size: Size, directory: Path) -> None:
    from actors.policy.model import build, save
    from actors.policy.tokenizer import TokenizerConfig, build_tokenizer

    tokenizer = build_tokenizer(TokenizerConfig())
    save(build(size.policy, max(size.vocab, len(tokenizer)), 0), tokenizer, directory)


def _recipe(size: Size, base: Path) -> dict[str, Any]:
    """RL from `base`: on a GPU shared by learner and engine, else on the CPU."""
    import torch

    on_gpu = torch.cuda.is_available()
    engine = {
        "device": "cuda",
        "dtype": "bfloat16",
        "max_open_requests": 512,
        "kv_cache_mib": 8192,
        "compiled": "graphs",
    }
    fleet = {"rollout_cpus": 2, "rollout_gpus": 0.5, "reward_workers": 4, "load_timeout_s": 90, "stall_timeout_s": 120}
    optimizer = {"learning_rate": 1e-6, "precision": "bfloat16" if on_gpu else "float32"}
    learning = {"algorithm": "grpo", "optimizer": optimizer, "microbatch_tokens": size.microbatch_tokens}
    rl = {
        "task": {"ops": [2, 3], "max_facts": 4},
        "steps": WARM_UP + 4,
        "prompts_per_step": size.prompts,
        "group_size": 6,
        "refills": 0,
        "max_tokens": size.max_tokens,
        "reward": {"name": "dense", "alpha": 0.2},
        "checkpoint_every": 100,
        "learning": learning,
    }
    return {
        "name": "gpu-loop",
        "bands": {"ranges": {"id": {"op": 2}, "edge": {"op": 3}}, "target": "edge"},
        "engine": engine if on_gpu else {"kv_cache_mib": 64},
        "fleet": fleet if on_gpu else {},
        "learner": {"cpus": 4, "gpus": 0.5, "threads": 4} if on_gpu else {},
        "stages": [{"kind": "base", "base": f"{base}"}, {"kind": "rl", "rl": rl}],
    }


def part(name: str, small: bool) -> dict[str, Any]:
    """One part, in this process."""
    kind, _, model = name.partition("-")
    if kind == "look":
        return look()
    make: Callable[[Size], dict[str, Any]] = {"pretrain": pretrain, "grpo": grpo}[kind]
    return make(TINY if small else SIZES[model])


def in_a_process(name: str, small: bool, limit_s: float) -> dict[str, Any]:
    """One part in a process of its own; its error in its place if it fails or takes longer than its limit."""
    words = [sys.executable, "-m", "benchmarks.gpu", "--part", name, *(["--small"] if small else [])]
    began = time.monotonic()
    try:
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"error": f"no end in {limit_s:g} s"}
    if done.returncode:
        return {"error": f"exit code {done.returncode}"}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    """Run all parts, or those that are named, and write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--parts", nargs="*", choices=LIMITS_S, default=list(LIMITS_S))
    parser.add_argument("--small", action="store_true", help="tiny sizes, on a CPU")
    parser.add_argument("--limit", type=float, help="seconds for each part, in place of its own limit")
    parser.add_argument("--part", choices=LIMITS_S, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(part(given.part, given.small)))
        return
    results: dict[str, Any] = {"command": " ".join(sys.argv)}
    for name in given.parts:
        results[name] = in_a_process(name, given.small, given.limit or LIMITS_S[name])
        print(name, json.dumps(results[name]), flush=True)
        given.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
