"""Every generated problem says what its graph says: read back from its words by a solver that knows nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.graphs.generate import generate
from verifier.graphs.problem import MODES, TEMPLATES, Operation, Problem, ProblemSpec
from verifier.graphs.solver.proof import disagreement
from verifier.graphs.solver.solve import solve

ROOT = Path(__file__).resolve().parents[2]

specs = st.builds(
    ProblemSpec,
    op=st.integers(4, 40),
    mode=st.sampled_from(MODES),
    template=st.sampled_from(TEMPLATES),
    depth=st.sampled_from((2, 3)),
    max_answer=st.integers(1, 20),
    max_constant=st.integers(1, 12),
)
problems = st.builds(generate, specs, st.integers(0, 2**63 - 1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_solver_confirms_100_000_problems_over_the_whole_grid():
    command = [sys.executable, "-m", "benchmarks.soundness", "--problems", "100000", "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    summary = re.search(r"^([\d,]+) problems, 0 disagreements", done.stdout, re.MULTILINE)
    assert summary, done.stdout
    assert int(summary[1].replace(",", "")) >= 100_000


@given(problems)
def test_text_to_solver_to_graph_is_a_round_trip(problem: Problem):
    assert disagreement(problem) is None


@given(problems, st.data())
def test_a_number_changed_in_the_words_changes_what_the_solver_derives(problem: Problem, data):
    """The solver really reads: the gold side alone cannot make it agree."""
    literals = [quantity for quantity in problem.graph.needed if quantity.operation is Operation.LITERAL]
    if not literals:
        return
    chosen = data.draw(st.sampled_from(literals))
    phrase = chosen.name if chosen.name.startswith(("total", "average")) else f"number of {chosen.name}"
    sentence = f"The {phrase} equals {chosen.value}."
    assert problem.problem.count(sentence) == 1
    changed = problem.problem.replace(
        sentence, sentence.replace(f"equals {chosen.value}", f"equals {chosen.value + 1}")
    )
    found = solve(changed, problem.question)
    gold = {quantity.name: quantity.value for quantity in problem.graph.needed}
    assert found.values() != gold


@given(problems, st.randoms(use_true_random=False))
def test_sentence_order_and_white_space_do_not_matter_to_the_solver(problem: Problem, random):
    sentences = [sentence.rstrip(".") + "." for sentence in problem.problem.split(". ")]
    random.shuffle(sentences)
    shuffled = "\n\t ".join(sentences)
    ours, gold = solve(shuffled, problem.question + " "), solve(problem.problem, problem.question)
    assert (ours.answer, ours.values()) == (gold.answer, gold.values())


@settings(max_examples=300)
@given(st.text(), st.text())
def test_any_text_is_solved_or_refused(problem: str, question: str):
    found = solve(problem, question)
    assert found.well_posed != (found.answer is None)


@settings(max_examples=300)
@given(problems, st.data())
def test_a_text_with_a_hole_is_solved_or_refused(problem: Problem, data):
    start = data.draw(st.integers(0, len(problem.problem)))
    end = data.draw(st.integers(start, len(problem.problem)))
    found = solve(problem.problem[:start] + problem.problem[end:], problem.question)
    assert found.well_posed != (found.answer is None)
