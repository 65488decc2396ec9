import hashlib
import re

from benchmarks.reference_traces import read, rows
from verifier.graphs.tell import expression, fact, prompt_text, question, trace, training_text


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_prompt_and_training_texts_are_the_references(conformance):
    count = 0
    for row in rows(conformance):
        assert _sha(prompt_text(row["problem"], row["question"])) == row["sha_prompt"]
        text = training_text(row["problem"], row["question"], row["solution"])
        assert _sha(text) == row["sha_train_text"], row["pid"]
        count += 1
    assert count == 618


def test_every_reference_trace_is_retold_byte_for_byte(conformance):
    for row in rows(conformance):
        told = read(row)
        letters = iter(told.letters)
        assert trace(told.graph, lambda source=letters: next(source)) == row["solution"], row["pid"]
        assert question(told.graph.query) == row["question"]


def test_every_needed_sentence_of_the_reference_is_retold_up_to_the_order_of_sums(conformance):
    for row in rows(conformance):
        told = read(row)
        if any(quirk.startswith("ill_posed") for quirk in row.get("quirk", ())):
            continue
        sentences = {_unordered(sentence) for sentence in re.split(r"(?<=\.) ", row["problem"].strip())}
        for quantity in told.graph.needed:
            if quantity.operation not in ("total", "weighted total"):
                assert _unordered(fact(quantity)) in sentences, row["pid"]


def _unordered(sentence: str) -> tuple[str, ...]:
    return tuple(sorted(re.split(r", and | and |, ", sentence.rstrip("."))))


def test_linear_expressions_are_printed_as_sympy_does():
    printed = {
        (0, 7): "7",
        (1, 0): "x",
        (-1, 0): "-x",
        (2, 3): "2*x + 3",
        (1, -4): "x - 4",
        (-1, 6): "6 - x",
        (-6, 36): "36 - 6*x",
        (-2, -3): "-2*x - 3",
    }
    for form, text in printed.items():
        assert expression(form) == text
