"""The gold traces of the generator before both judges."""

import pytest

from verifier.graphs.generate import MIN_OP, generate
from verifier.graphs.judge.judge import prepare, verify
from verifier.graphs.original.judge import judge
from verifier.graphs.problem import MODES, Operation, ProblemSpec
from verifier.graphs.tell import completion_text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", MIN_OP)
def test_gold_traces_pass_both_judges_and_leak_no_letters(mode, depth):
    for op in (4, 7, 11, 15, 20, 32):
        for seed in range(6):
            problem = generate(ProblemSpec(op, mode, depth=depth), seed)
            text = completion_text(problem.solution)
            report = judge(text, problem.solution)
            assert report.perfect, problem.id
            assert verify(text, prepare(problem.problem, problem.question, problem.solution)).verified, problem.id
            for quantity in problem.graph.needed:
                if quantity.operation is not Operation.UNKNOWN:
                    read = report.pred.nodes[quantity.name].parents
                    assert set(quantity.parents) <= read <= {*quantity.parents, problem.graph.query}, problem.id
