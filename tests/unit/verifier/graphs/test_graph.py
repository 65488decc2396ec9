from dataclasses import replace

from verifier.graphs.generate import generate
from verifier.graphs.graph import canonical_hash, depths, layout
from verifier.graphs.problem import Graph, Operation, ProblemSpec, Quantity

CHAIN = Graph(
    needed=(
        Quantity("a in P", Operation.LITERAL, (), 3, 3),
        Quantity("b in P", Operation.PLUS, ("a in P",), 2, 5),
        Quantity("c in Q", Operation.SUM, ("a in P", "b in P"), None, 8),
    ),
    distractors=(Quantity("d in Q", Operation.COPY, ("c in Q",), None, 8),),
    query="c in Q",
)


def test_a_depth_counts_the_edges_down_to_a_literal():
    assert depths(CHAIN) == {"a in P": 0, "b in P": 1, "c in Q": 2, "d in Q": 3}


def test_a_layout_puts_every_quantity_above_its_parents():
    for seed in range(20):
        graph = generate(ProblemSpec(14, "reverse"), seed).graph
        drawn = layout(graph)
        row = {name: index for index, names in enumerate(drawn.layers) for name in names}
        assert len(row) == len(graph.needed + graph.distractors)
        assert drawn.width == max(map(len, drawn.layers))
        for quantity in graph.needed + graph.distractors:
            assert all(row[parent] < row[quantity.name] for parent in quantity.parents)


def test_the_canonical_hash_ignores_letters_sentence_order_and_operand_order():
    problem = generate(ProblemSpec(9), 1)
    graph = problem.graph
    retold = replace(problem, problem="other order", solution="other letters", seed=7)
    assert canonical_hash(retold) == canonical_hash(problem)
    turned = tuple(
        replace(quantity, parents=quantity.parents[::-1])
        if quantity.operation in (Operation.SUM, Operation.TOTAL, Operation.PLUS_SUM, Operation.TIMES_SUM)
        else quantity
        for quantity in graph.needed
    )
    assert canonical_hash(replace(problem, graph=replace(graph, needed=turned))) == canonical_hash(problem)
    shuffled = replace(graph, distractors=graph.distractors[::-1])
    assert canonical_hash(replace(problem, graph=shuffled)) == canonical_hash(problem)


def test_the_canonical_hash_ignores_the_order_of_a_weighted_totals_products_but_not_which_is_whose():
    products = ("a in P", "average a", "b in P", "average b")
    turned = ("b in P", "average b", "a in P", "average a")
    swapped = ("a in P", "average b", "b in P", "average a")
    problem = generate(ProblemSpec(2), 0)
    one, other, another = (
        canonical_hash(replace(problem, graph=Graph((Quantity("t", Operation.WEIGHTED_TOTAL, p, None, 2),), (), "t")))
        for p in (products, turned, swapped)
    )
    assert one == other != another


def test_the_canonical_hash_tells_facts_questions_and_given_values_apart():
    problem = generate(ProblemSpec(9, "reverse"), 1)
    graph = problem.graph
    other_question = replace(graph, query=graph.needed[0].name + "!")
    last = replace(graph.needed[-1], value=graph.needed[-1].value + 1)
    other_value = replace(graph, needed=(*graph.needed[:-1], last))
    fewer_facts = replace(graph, distractors=graph.distractors[1:])
    hashes = {canonical_hash(replace(problem, graph=g)) for g in (graph, other_question, other_value, fewer_facts)}
    assert len(hashes) == 4 - (not graph.distractors)


def test_a_difference_the_other_way_round_is_another_problem():
    gap = Quantity("c in Q", Operation.DIFFERENCE, ("b in P", "a in P"), None, 2)
    problem = generate(ProblemSpec(2), 0)
    one, other = (
        canonical_hash(replace(problem, graph=Graph((*CHAIN.needed[:2], quantity), (), "c in Q")))
        for quantity in (gap, replace(gap, parents=gap.parents[::-1]))
    )
    assert one != other
