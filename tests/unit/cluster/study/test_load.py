"""A study is read by name or from a file, and refused with the file and the key at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.study.load import MAX_STUDY_BYTES, StudyError, load, scale_of

LITTLE = Path(__file__).parents[3] / "integration" / "study.yaml"


def test_a_recipe_file_lies_beside_the_study_that_names_it():
    study = load(str(LITTLE))
    assert scale_of(study, None).recipe == str(LITTLE.with_name("little.yaml"))


def test_a_scale_may_be_a_file_of_its_own(tmp_path: Path):
    (tmp_path / "big.yaml").write_text("{recipe: mine.yaml, changes: {seed: 4}}")
    scale = scale_of(load("process-reward"), str(tmp_path / "big.yaml"))
    assert (scale.recipe, scale.changes) == (str(tmp_path / "mine.yaml"), {"seed": 4})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not plain YAML"),
        ("5", "s.yaml: must be a map of keys, not 5"),
        ("name: x", "has 5 errors:\n  question: is required\n  scales: is required"),
        (LITTLE.read_text() + "\nextra: 1", "extra: there is no such key; the keys here are name, question"),
        (LITTLE.read_text() + "\nworkers: 1", "workers: there is no such key; the keys here are name, question"),
        (LITTLE.read_text().replace("seeds: [3]", "seed: [3]"), "seed: there is no such key; did you mean seeds?"),
        (LITTLE.read_text().replace("seeds: [3]", "seeds: []"), "seeds: must have at least one seed"),
        (LITTLE.read_text().replace("says: the whole", "sais: the whole"), "arms.strict.sais: .* did you mean says?"),
        (LITTLE.read_text().replace("  strict: {", "  5: {"), "arms.5: must be a valid string, not 5"),
        (LITTLE.read_text().replace("arm: strict", "arm: srtict"), "claims.more: no arm 'srtict'"),
        (LITTLE.read_text().replace("[outcome, base]", "[strict]"), "claims.more: names an arm twice"),
        (LITTLE.read_text().replace("band: all", "bend: all"), "claims.more.bend: .* did you mean band?"),
        (LITTLE.read_text().replace("rule: greater", "rule: grater"), "claims.more.rule: .* did you mean greater?"),
        (LITTLE.read_text().replace("rule: greater", "rule: unchanged"), "claims.more.margin: is required"),
        (LITTLE.read_text().replace("rule: greater, ", ""), "claims.more.rule: is required"),
        ("#" * MAX_STUDY_BYTES + "#", "bytes"),
    ],
)
def test_what_is_no_study_is_refused_with_the_key(tmp_path: Path, text: str, message: str):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(StudyError, match=message.replace("?", r"\?")):
        load(str(tmp_path / "s.yaml"))


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(StudyError, match="no study 'proces-reward'"):
        load("proces-reward")
    with pytest.raises(StudyError, match="no scale 'huge'"):
        scale_of(load("process-reward"), "huge")
    with pytest.raises(StudyError, match="does not exist"):
        load(str(tmp_path / "none.yaml"))
