"""What packing saves: one learner step on the same groups, the prompt stored once or padded once per completion.

Run: `OMP_NUM_THREADS=1 python -m benchmarks.learner`. The shape is that of the tiny recipe: 90 prompt tokens,
completions of 30 to 60, groups of 8, a policy of a million parameters. Prints tokens computed, CPU seconds per step and
their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from actors.config import PolicyConfig
from actors.policy.model import build
from actors.records import Completion, Rollout, RolloutGroup
from trainers.config import LearningConfig
from trainers.learner.learner import PackedPolicy
from trainers.learner.packing import pack
from trainers.records import Batch
from verifier.families import config_of, open_task

VOCABULARY = 600
PROMPT, SHORTEST, LONGEST, GROUP, GROUPS = 90, 30, 60, 8, 16
REPEATS = 5
POLICY = PolicyConfig(layers=4, hidden=128, ffn=512, heads=4, kv_heads=4, max_positions=512)


def make_groups() -> list[RolloutGroup]:
    """Random tokens of the tiny recipe's lengths."""
    draw = np.random.default_rng(0)
    config = config_of("graphs").model_validate({"ops": [2], "max_facts": 4})
    task = open_task(config)
    item = task.item(task.strata()[0], 0, 0, "train")

    def ids(length: int) -> tuple[int, ...]:
        return tuple(draw.integers(10, VOCABULARY, length).tolist())

    def rollout(index: int) -> Rollout:
        token_ids = ids(int(draw.integers(SHORTEST, LONGEST)))
        completion = Completion(index, token_ids, (-1.0,) * len(token_ids), "stop", 0, 0)
        return Rollout(completion, "", None, float(draw.integers(0, 2)))

    return [RolloutGroup(n, item, ids(PROMPT), tuple(rollout(i) for i in range(GROUP))) for n in range(GROUPS)]


def packed_step(model: PackedPolicy, batch: Batch) -> None:
    """Forward and backward over the streams."""
    for stream in batch.streams:
        logprob, _ = model(stream)
        (-(torch.tensor(stream.weight) * torch.tensor(stream.advantage) * logprob).sum()).backward()
    model.zero_grad()


def padded_step(model: torch.nn.Module, groups: list[RolloutGroup]) -> int:
    """The same by padded rows of stock transformers, two groups at a time; returns the tokens computed."""
    tokens = 0
    for start in range(0, len(groups), 2):
        rows = [
            torch.tensor(g.prompt_ids + r.completion.token_ids) for g in groups[start : start + 2] for r in g.rollouts
        ]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in rows], batch_first=True)
        logits = model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=ids.shape[1] - PROMPT + 1
        ).logits
        logprobs = torch.log_softmax(logits[:, :-1], -1).gather(2, ids[:, PROMPT:, None]).squeeze(2)
        (-(mask[:, PROMPT:] * logprobs).sum()).backward()
        tokens += ids.numel()
    model.zero_grad()
    return tokens


def cpu_seconds(step: Callable[[], object]) -> float:
    """The median CPU time of a step after one to warm up."""
    step()
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return sorted(times)[REPEATS // 2]


def main() -> None:
    """Measure both and print the table."""
    groups = make_groups()
    batch = pack(groups, LearningConfig(microbatch_tokens=4096), 64)
    plain = build(POLICY, VOCABULARY, 0).train()
    padded_tokens = padded_step(plain, groups)
    padded = cpu_seconds(lambda: padded_step(plain, groups))
    model = PackedPolicy(build(POLICY, VOCABULARY, 0)).train()
    packed = cpu_seconds(lambda: packed_step(model, batch))
    print(f"{'':8}{'tokens':>8}{'CPU s':>8}")
    print(f"{'padded':8}{padded_tokens:8}{padded:8.2f}")
    print(f"{'packed':8}{batch.tokens:8}{packed:8.2f}   {padded / packed:.2f} times faster")


if __name__ == "__main__":
    main()
