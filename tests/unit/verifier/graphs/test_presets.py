import math

import pytest

from verifier.errors import UnknownPreset
from verifier.graphs.presets import PRESETS, preset


def _by_op(name):
    shares = {}
    for cell in PRESETS[name].cells:
        shares[cell.op] = shares.get(cell.op, 0.0) + cell.share
    return shares


def _by_template(name):
    shares = {}
    for cell in PRESETS[name].cells:
        shares[cell.template] = shares.get(cell.template, 0.0) + cell.share
    return shares


def _bands(name):
    shares = _by_op(name)
    return [math.fsum(shares.get(op, 0.0) for op in ops) for ops in (range(2, 5), range(5, 8), range(8, 11))]


def test_every_preset_sums_to_1_and_halves_the_modes():
    for name, mixture in PRESETS.items():
        assert math.fsum(cell.share for cell in mixture.cells) == pytest.approx(1.0), name
        reverse = math.fsum(cell.share for cell in mixture.cells if cell.mode == "reverse")
        assert reverse == pytest.approx(0.5), name


def test_the_main_base_is_20_30_50_without_the_slip():
    name = "id2-10_0.2easy_0.3medium_0.5hard"
    assert _bands(name) == pytest.approx([0.2, 0.3, 0.5])
    assert _by_op(name)[3] == pytest.approx(0.06)
    assert _by_op(f"{name}-as-published")[3] == pytest.approx(0.86 / 1.8)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("id2-10_0") and "published" not in name])
def test_bands_are_what_the_name_says(name):
    stated = [float(part.rstrip("easymdiuhr")) for part in name.removeprefix("id2-10_").split("_")]
    assert _bands(name) == pytest.approx(stated)


def test_hard_tenths_of_a_percent_are_corrected_and_kept_as_published():
    name = "id2-10_0.4995easy_0.4995medium_0.001hard"
    assert _by_op(name)[9] == pytest.approx(0.001 / 3)
    assert _by_op(f"{name}-as-published")[9] == pytest.approx(0.003 / 1.008)


def test_mid_training_repeats_a_fifth_of_the_base():
    shares = _by_op("cpt0.2-uniform_0.8-11-14")
    assert shares[2] == pytest.approx(0.2 / 9)
    assert shares[14] == pytest.approx(0.2)
    overlap = _by_op("cpt0.2-uniform_0.8-9-12")
    assert overlap[9] == pytest.approx(0.2 / 9 + 0.2)


def test_rl_sets_are_even():
    assert _by_op("op17-20_uniform") == pytest.approx(dict.fromkeys(range(17, 21), 0.25))
    assert _by_op("op11-14_uniform_plus")[12] == pytest.approx(0.225)


def test_contexts_split_zoo_and_school_as_named():
    assert _by_template("context_0.99zoo_0.01school") == pytest.approx({"zoo": 0.99, "school": 0.01})
    assert _by_template("context_1.0zoo_0.0school") == pytest.approx({"zoo": 1.0})
    assert _by_template("context-rl_0.1zoo_0.9school") == pytest.approx({"zoo": 0.1, "school": 0.9})
    assert _by_template("context-rl_0.1zoo_0.9school-as-published") == pytest.approx({"zoo": 0.2, "school": 0.8})


def test_the_context_study_tells_school_stories_of_op_2_only():
    cells = PRESETS["mixed_0.99zoo-2-20_0.01school-2"].cells
    assert {cell.op for cell in cells if cell.template == "school"} == {2}
    assert {cell.op for cell in cells if cell.template == "zoo"} == set(range(2, 21))


def test_published_presets_have_the_reference_answers_and_others_wider_ones():
    for name, mixture in PRESETS.items():
        assert mixture.max_answer == (4 if name.endswith("-as-published") else 20)


def test_an_unknown_preset_is_refused_with_the_closest_names():
    assert preset("op7-10_uniform") is PRESETS["op7-10_uniform"]
    with pytest.raises(UnknownPreset, match="did you mean op11-14_uniform"):
        preset("op11-14_unifrom")
    with pytest.raises(UnknownPreset, match=r"docs/tasks.md lists all"):
        preset("?")
