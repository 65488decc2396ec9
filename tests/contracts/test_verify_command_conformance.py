"""`interplay verify` on the conformance files as they are, in both modes, from the command line."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

INTERPLAY = Path(sys.executable).with_name("interplay")
REFERENCE_FIELDS = (
    "pid", "report", "pred", "n_steps", "parsed_answer", "perfect", "process_acc", "extracted", "em", "outcome",
    "process_reward", "score",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(conformance):
    with gzip.open(conformance / "verdicts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _judgements(mode, conformance, folder):
    problems, texts, out = conformance / "problems.jsonl.gz", conformance / "verdicts.jsonl.gz", folder / "out.jsonl"
    command = [INTERPLAY, "verify", "--mode", mode, "--problems", problems, "--texts", texts, "--out", out]
    done = subprocess.run(command, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.timeout(300)
def test_the_reference_mode_gives_every_field_of_every_row(conformance, rows, tmp_path):
    found = _judgements("reference", conformance, tmp_path)
    assert len(found) == len(rows)
    for row, judgement in zip(rows, found, strict=True):
        assert judgement == {field: row[field] for field in REFERENCE_FIELDS}, (row["pid"], row["mut"])


@pytest.mark.timeout(300)
def test_the_strict_mode_agrees_with_every_row_that_is_no_matter_of_convention(conformance, rows, tmp_path):
    found = _judgements("strict", conformance, tmp_path)
    assert len(found) == len(rows)
    for row, judgement in zip(rows, found, strict=True):
        assert judgement["pid"] == row["pid"]
        assert row["expected"] in (None, judgement["verified"]), (row["pid"], row["mut"])
        assert {"verified", "process_acc", "steps", "first_error"} <= judgement.keys()
