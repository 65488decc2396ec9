"""The diagnosis of a run for a person or a program, from its metrics.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from actors.diagnosis.findings import Finding, diagnose
from cluster.run.folder import RunFolder
from trainers.evaluation.report import events_of


def show(folder: RunFolder, as_json: bool) -> None:
    """Print the findings of a run. Raises RunFolderError where the folder is no run's."""
    folder.recipe()
    events = events_of(folder.path)
    findings = diagnose(events)
    if as_json:
        typer.echo(json.dumps([asdict(finding) | {"line": finding.line} for finding in findings]))
        return
    steps = sum(event["event"] == "rl_step" for event in events)
    if not findings:
        typer.echo(f"no finding in {steps} RL steps" if steps else "the run has no RL step yet")
    for finding in findings:
        typer.echo(_told(finding))


def _told(finding: Finding) -> str:
    head = typer.style(finding.name, fg="yellow", bold=True)
    return f"{head} ({finding.stage}): {finding.line}\n  change: {finding.knob}\n  docs: {finding.docs}"
