import string
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import op_count
from verifier.graphs.generate import MAX_OP, MIN_OP, generate
from verifier.graphs.graph import canonical_hash
from verifier.graphs.problem import MODES, TEMPLATES, Operation, ProblemSpec
from verifier.graphs.tell import completion_text, fact, prompt_text, training_text


@st.composite
def specs(draw: st.DrawFn) -> ProblemSpec:
    depth = draw(st.sampled_from(sorted(MIN_OP)))
    op = draw(st.integers(MIN_OP[depth], MAX_OP))
    mode = draw(st.sampled_from(MODES))
    given = 1 if mode == "reverse" else 0
    facts = draw(st.none() | st.integers(-(-(op + 1) // 3) + given, 25 + given))
    answer, constant = draw(st.integers(1, 50)), draw(st.integers(1, 500 // op))
    return ProblemSpec(op, mode, draw(st.sampled_from(TEMPLATES)), depth, facts, answer, constant)


SEEDS = st.integers(0, (1 << 63) - 1)


@settings(max_examples=100, deadline=None)
@given(specs(), SEEDS)
def test_a_problem_is_what_its_spec_says(spec, seed):
    problem = generate(spec, seed)
    graph = problem.graph
    assert op_count(graph) == spec.op
    assert (problem.spec, problem.seed) == (spec, seed)
    sentences = problem.problem.count(". ") + 1
    assert spec.max_facts is None or sentences <= spec.max_facts
    assert (graph.given is not None) == (spec.mode == "reverse")
    assert spec.mode == "forward" or 1 <= problem.answer <= spec.max_answer
    constants = [quantity.constant or 1 for quantity in graph.needed + graph.distractors]
    assert 1 <= min(constants) <= max(constants) <= spec.max_constant


@settings(max_examples=60, deadline=None)
@given(specs(), SEEDS)
def test_every_told_quantity_has_its_sentence_in_the_problem(spec, seed):
    problem = generate(spec, seed)
    for quantity in problem.graph.needed + problem.graph.distractors:
        if quantity.operation not in (Operation.TOTAL, Operation.WEIGHTED_TOTAL):
            assert fact(quantity) in problem.problem


@settings(max_examples=60, deadline=None)
@given(specs(), SEEDS)
def test_the_trace_defines_each_needed_quantity_once_in_order(spec, seed):
    problem = generate(spec, seed)
    defined = [step.partition(" as ")[0] for step in problem.solution.split("Define ")[1:]]
    assert defined == [quantity.name for quantity in problem.graph.needed]
    letters = [step.partition(" as ")[2][0] for step in problem.solution.split("Define ")[1:]]
    assert len(set(letters)) == len(letters)
    assert set(letters) <= set(string.ascii_letters)


@settings(max_examples=50, deadline=None)
@given(specs(), SEEDS)
def test_the_prompt_and_the_completion_make_the_training_text(spec, seed):
    problem = generate(spec, seed)
    prompt, completion = prompt_text(problem.problem, problem.question), completion_text(problem.solution)
    assert training_text(problem.problem, problem.question, problem.solution) == f"{prompt} {completion}"
    assert completion.endswith(f"</solution> <answer> {problem.answer} </answer>")


@settings(max_examples=50, deadline=None)
@given(specs(), SEEDS, st.randoms(use_true_random=False))
def test_the_canonical_hash_survives_another_order_of_the_distractors(spec, seed, random):
    problem = generate(spec, seed)
    distractors = list(problem.graph.distractors)
    random.shuffle(distractors)
    other = replace(problem, graph=replace(problem.graph, distractors=tuple(distractors)))
    assert canonical_hash(other) == canonical_hash(problem)
