from verifier.graphs.judge.trace import MAX_STEPS, read_number, read_trace, statements


def test_a_text_is_read_into_preamble_steps_and_answer():
    trace = read_trace(" We begin. Define a b as k; Z = 3; so k = 2 * Z = 6. </solution> <answer> 6 </answer>[EOS]")
    assert trace.preamble == [("We begin", True)]
    assert [step[:3] for step in trace.steps] == [("a b", "k", [("Z = 3", False), ("so k = 2 * Z = 6", True)])]
    assert trace.answer == " 6 "
    assert (trace.stray, trace.cut) == ("", False)


def test_spans_hold_their_step_without_the_blanks_behind_it():
    text = "Oh. Define a as k; so k = 2.  \n Define b as l; so l = 3. </solution>"
    assert [text[step.start : step.end] for step in read_trace(text).steps] == [
        "Define a as k; so k = 2.",
        "Define b as l; so l = 3.",
    ]


def test_a_point_before_a_digit_ends_no_sentence():
    assert statements("so k = 4.5. And so on; x = 3.0. ") == [
        ("so k = 4.5", True),
        ("And so on", False),
        ("x = 3.0", True),
    ]
    assert statements(" .. ; . 5") == [("5", False)]


def test_broken_steps_are_steps_without_a_letter():
    broken = [
        "Define a as k",
        "Define a as kk; x",
        "Define as k;",
        "define a as k;",
        "Define a k;",
        "Define",
        "Define a as \u00e9;",
    ]
    for text in broken:
        (step,) = read_trace(text).steps
        assert (step.letter, step.statements) == ("", []), text
    assert read_trace("Define a b as the variable k; so k = 3.").steps[0].name == "a b"
    assert read_trace("Define " + "word " * 1000).steps[0].name.startswith("word word")


def test_nothing_behind_the_first_end_is_read():
    assert read_trace("<answer> 3 </answer> Define a as k; so k = 3.").steps == []
    assert read_trace("[EOS] Define a as k; so k = 3. <answer> 3").answer is None
    assert read_trace("x </solution> more <answer> 3").stray == "more"


def test_steps_beyond_the_cap_are_not_read():
    trace = read_trace("Define a as k; so k = 1. " * (MAX_STEPS + 1))
    assert (len(trace.steps), trace.cut) == (MAX_STEPS, True)


def test_a_number_is_the_whole_text_but_for_blanks_and_a_full_stop():
    assert [read_number(text) for text in (" 4 ", "4.", "-4", "+04", "4.0", "4.0 .")] == [
        "4",
        "4",
        "-4",
        "+04",
        "4.0",
        "4.0",
    ]
    assert [read_number(text) for text in ("", "4 animals", "is 4", "4..", "1e3", "4,5", "\u0664")] == [None] * 7
