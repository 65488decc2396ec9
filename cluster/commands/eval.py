"""`interplay eval`: measures pass@k of any causal language model, ours or other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    model: Annotated[
        Path | None, typer.Option(help="A transformers directory with its own tokenizer; safetensors only.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Instead: the folder of a run.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="With --run-dir: a checkpoint's id.  [default: newest]")
    ] = None,
    ops: Annotated[str, typer.Option(help="Op counts: 2-10 or 2,3,11-14.")] = "2-8",
    mode: Annotated[str, typer.Option(help="forward or reverse.")] = "forward",
    template: Annotated[str, typer.Option(help="zoo, school or movie.")] = "zoo",
    max_facts: Annotated[int | None, typer.Option(min=1, help="Most sentences of a problem.")] = None,
    problems: Annotated[int, typer.Option(min=1, help="Held-out problems per op.")] = 100,
    samples: Annotated[int, typer.Option(min=1, help="Completions per problem; pass@k up to this k.")] = 8,
    temperature: Annotated[float, typer.Option(min=0.01, help="The paper evaluates at 0.7.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest completion in tokens.")] = 512,
    out: Annotated[Path | None, typer.Option(help="Write every problem's score to this JSON file.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join.  [default: a new one here]")] = None,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="engine.* and fleet.* of a recipe.")
    ] = None,
) -> None:
    """Measure outcome and process-verified pass@k per op, on held-out problems.

    The prompt is the paper's: <question> problem question </question> <solution>.
    """
    from cluster.run.evaluation import Target, evaluate_directory, print_grid, read_ops
    from trainers.evaluation.evaluate import EvalConfig
    from verifier.families import config_of

    target = Target.choose(model, run_dir, checkpoint)
    task = config_of("graphs").model_validate(
        {"ops": read_ops(ops), "mode": mode, "template": template, "max_facts": max_facts}
    )
    config = EvalConfig(
        task=task,
        problems=problems,
        target_problems=problems,
        samples=samples,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    print_grid(evaluate_directory(target, config, settings or [], address, out))
