"""`interplay eval`: measures pass@k of any causal language model, ours or other people's."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.options import Address, Insecure


def main(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|DIR", help="A run, by name or folder, or any transformers directory with safetensors."
        ),
    ],
    checkpoint: Annotated[str | None, typer.Option(help="Of a run: a checkpoint's id. (default: newest)")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="The problems: those of a recipe (name or YAML file), or package.module:factory. (default: the run's)"
        ),
    ] = None,
    problems: Annotated[int, typer.Option(min=1, help="Held-out problems per stratum.")] = 100,
    samples: Annotated[int, typer.Option(min=1, help="Completions per problem; pass@k up to this k.")] = 8,
    temperature: Annotated[float, typer.Option(min=0.01, help="The paper evaluates at 0.7.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest completion in tokens.")] = 512,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Plant an error in a right trace of each problem too.")
    ] = False,
    out: Annotated[str | None, typer.Option(help="Write every problem's score to this JSON file.")] = None,
    address: Address = None,
    insecure: Insecure = False,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="task.*, engine.* and fleet.* of a recipe.")
    ] = None,
) -> None:
    """Measure pass@k per stratum on held-out problems: by the answer, and by the process where steps are judged.

    For the op-graph problems of this repository no recipe is needed: `task.ops=[2,3,4] task.max_facts=4`.
    """

    from cluster.evaluation.target import Target, read_settings
    from cluster.files import jsonl
    from cluster.recipe.load import validated
    from trainers.evaluation.evaluate import EvalConfig

    if out is not None:
        jsonl.require_writable(out)
    target = Target.choose(model, checkpoint)
    chosen = read_settings(task, target.run, settings or [])
    asked = {
        "task": chosen.task,
        "problems": problems,
        "target_problems": problems,
        "samples": samples,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "recovery": recovery,
    }
    config = validated(EvalConfig, (), asked)
    from cluster.evaluation.directory import evaluate_directory, print_grid  # loads model code

    evaluation = evaluate_directory(target, config, chosen, address, insecure)
    print_grid(evaluation)
    if out is not None:
        with jsonl.writing(out) as write:
            write(jsonl.encode(evaluation.record()))
