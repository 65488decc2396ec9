"""Losses and gradients of TRL 1.16 on fixed tensors, which `tests/golden/trl_losses.json` keeps.

    PYTHON benchmarks/trl_reference.py tests/golden/trl_losses.json

PYTHON belongs to an environment with trl==1.16.0. TRL's own `_compute_loss` runs on log-probabilities that are given
instead of a model's; everything that it would log goes nowhere.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch

LENGTHS, LONGEST, LONGEST_ALLOWED = (3, 5, 1, 4), 5, 8
CLIP = {"epsilon_low": 0.2, "epsilon_high": 0.2}
CASES: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "grpo", **CLIP},
    "grpo with dual_clip": {"loss_type": "grpo", **CLIP, "delta": 1.5},
    "dr_grpo": {"loss_type": "dr_grpo", **CLIP},
    "dapo": {"loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.28},
    "dapo with kl": {"loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.28, "beta": 0.1},
    "gspo": {"loss_type": "grpo", "epsilon_low": 3e-4, "epsilon_high": 4e-4, "importance_sampling_level": "sequence"},
    "gspo with wide clip": {"loss_type": "grpo", **CLIP, "importance_sampling_level": "sequence"},
    "cispo": {"loss_type": "cispo", "epsilon_low": 0.0, "epsilon_high": 5.0},
    "cispo with low cap": {"loss_type": "cispo", "epsilon_low": 0.0, "epsilon_high": 1.2},
    "rloo": {"rloo": True, **CLIP},
}


def main() -> None:
    """Write the tensors and, for each case, TRL's loss and gradient."""
    draw = torch.Generator().manual_seed(7)
    shape = (len(LENGTHS), LONGEST)
    old = -2 * torch.rand(shape, generator=draw, dtype=torch.float64)
    given = {
        "old_logprob": old,
        "logprob": old + 0.5 * torch.randn(shape, generator=draw, dtype=torch.float64),
        "reference_logprob": old + 0.3 * torch.randn(shape, generator=draw, dtype=torch.float64),
        "advantage": torch.tensor([0.75, -0.25, -1.5, 1.0], dtype=torch.float64),
    }
    mask = torch.tensor([[float(t < n) for t in range(LONGEST)] for n in LENGTHS], dtype=torch.float64)
    record = {"lengths": LENGTHS, "longest": LONGEST_ALLOWED} | {name: t.tolist() for name, t in given.items()}
    record["cases"] = {name: measured(case, given, mask) for name, case in CASES.items()}
    Path(sys.argv[1]).write_text(json.dumps(record, indent=1) + "\n")


def measured(case: dict[str, Any], given: dict[str, torch.Tensor], mask: torch.Tensor) -> dict[str, Any]:
    """TRL's loss and its gradient with respect to the log-probabilities."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer

    logprob = given["logprob"].clone().requires_grad_()
    trainer = stand_in(case, logprob)
    inputs = {
        "prompt_ids": torch.zeros(len(LENGTHS), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(LENGTHS), 1),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask,
        "advantages": given["advantage"],
        "old_per_token_logps": given["old_logprob"],
        "old_logps": (given["old_logprob"] * mask).sum(1),
        "ref_per_token_logps": given["reference_logprob"],
        "num_items_in_batch": mask.sum(),
    }
    owner = RLOOTrainer if case.get("rloo") else GRPOTrainer
    loss = owner._compute_loss(trainer, None, inputs)
    loss.backward()
    return {"loss": loss.item(), "gradient": logprob.grad.tolist()}


def stand_in(case: dict[str, Any], logprob: torch.Tensor) -> MagicMock:
    """What `_compute_loss` reads of a trainer."""
    trainer = MagicMock()
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: (logprob, torch.zeros_like(logprob), None)
    trainer._metrics = defaultdict(lambda: defaultdict(list))
    trainer.accelerator.num_processes = 1
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda tensor: tensor
    trainer.accelerator.reduce = lambda tensor, **_: tensor
    trainer.args = SimpleNamespace(delta=case.get("delta"), use_bias_correction_kl=False, steps_per_generation=1)
    settings = {
        "beta": 0.0,
        "importance_sampling_level": "token",
        "loss_type": "grpo",
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": False,
        "aux_loss_enabled": False,
        "_entropy_bonus_enabled": False,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": LONGEST_ALLOWED,
    }
    for name, value in {**settings, **case}.items():
        setattr(trainer, name, value)
    return trainer


if __name__ == "__main__":
    main()
