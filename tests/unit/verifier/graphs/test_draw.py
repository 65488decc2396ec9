from xml.etree import ElementTree

import pytest

from tests.unit.verifier.graphs.spoiled import answered, body_of, gold_of, made
from verifier.graphs.draw import MAX_NODES, judgement_svg, problem_svg
from verifier.graphs.judge.judge import verify

SVG = "{http://www.w3.org/2000/svg}"


def _parsed(svg):
    return ElementTree.fromstring(svg)


def _texts(root):
    return [text.text or "" for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_problem_is_drawn_with_every_quantity_and_edge(mode):
    graph = made(10, mode).graph
    root = _parsed(problem_svg(graph))
    quantities = (graph.needed + graph.distractors)[:MAX_NODES]
    shown = {quantity.name for quantity in quantities}
    titles = [title.text for title in root.iter(f"{SVG}title")][1:]
    assert {(title or "").rpartition(": ")[0] for title in titles} == shown
    assert "id=" not in problem_svg(graph)
    edges = sum(parent in shown for quantity in quantities for parent in dict.fromkeys(quantity.parents))
    assert len(list(root.findall(f"{SVG}path"))) == edges
    assert "asked" in " ".join(group.get("class", "") for group in root.iter(f"{SVG}g"))


def test_a_judgement_shows_every_status_in_words():
    problem = made(10)
    body = body_of(problem).replace("Define ", "Define purple dragon in Moon Base as Q; so Q = 3. Define ", 1)
    judgement = verify(answered(body[: len(body) // 2], problem.answer), gold_of(problem))
    root = _parsed(judgement_svg(gold_of(problem), judgement))
    notes = " ".join(_texts(root))
    assert all(word in notes for word in ("right", "invented", "missing"))
    assert root.get("aria-label") == "Judgement: not verified, answer right"
    classes = {group.get("class") for group in root.iter(f"{SVG}g")}
    assert classes == {"right", "wrong", "missing"}


def test_a_verified_judgement_is_all_right_and_boxes_do_not_overlap():
    problem = made(20, "reverse")
    judgement = verify(answered(body_of(problem), problem.answer), gold_of(problem))
    root = _parsed(judgement_svg(gold_of(problem), judgement))
    assert {group.get("class") for group in root.iter(f"{SVG}g")} == {"right"}
    corners = [(int(rect.get("x", 0)), int(rect.get("y", 0))) for rect in root.iter(f"{SVG}rect")]
    assert len(set(corners)) == len(corners) == len(gold_of(problem).steps)
    for x, y in corners:
        assert not any(y == other_y and 0 < other_x - x < 216 for other_x, other_y in corners)


def test_an_error_outlasts_a_success_of_the_same_quantity():
    problem = made(4)
    body = body_of(problem)
    first = body[: body.index(".") + 1]
    spoiled = first.rpartition("= ")[0] + "= 99."
    judgement = verify(answered(f"{body} {spoiled}", problem.answer), gold_of(problem))
    assert "wrong" in judgement_svg(gold_of(problem), judgement)


def test_names_from_a_model_are_escaped():
    problem = made(4)
    name = '<script>alert(1)</script> & \0 "x" ' + "long " * 100
    judgement = verify(f"Define {name} as k; so k = 3.", gold_of(problem))
    svg = judgement_svg(gold_of(problem), judgement)
    _parsed(svg)
    assert "<script" not in svg
