"""The report of a study: one page that needs nothing else, and its figures beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cluster.recipe import plain_yaml
from cluster.study.command import report
from cluster.study.folder import Registration, StudyFolder
from cluster.study.model import AFTER, BEFORE, Study
from cluster.study.page import write_study
from tests.studies import left, little, recovering


def test_the_page_leads_with_the_claims_and_escapes_what_people_wrote(tmp_path: Path):
    folder = left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3})
    found = write_study(folder)
    page = (folder.path / "study.html").read_text()
    assert json.loads((folder.path / "study.json").read_text()) == found
    assert page.index("supported") < page.index("The first arm is better") < page.index("<svg")
    assert "Which &lt;b&gt;arm&lt;/b&gt; is better?" in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="https?:', page.replace('xlink:href="http', ""))
    for name in ("arms", "curves", "strata", "answers", "first-errors"):
        assert (folder.path / "figures" / f"{name}.svg").read_text().endswith("</svg>\n")
        assert f'href="figures/{name}.svg"' in page
    assert 'href="arm0/0/report.html"' in page


def test_a_study_of_which_nothing_is_done_has_a_report_all_the_same(tmp_path: Path):
    folder = StudyFolder(tmp_path / "s")
    folder.register(little())
    found = write_study(folder)
    assert found["claims"][0]["verdict"] == "not resolved"
    assert "6 runs are not done" in (folder.path / "study.html").read_text()


def test_the_page_tells_the_recovery_of_the_arms(tmp_path: Path):
    folder = left(tmp_path / "s", recovering(BEFORE, AFTER, metric="recovery"), {"arm0": 0.8, "arm1": 0.3})
    edge = write_study(folder)["arms"]["arm0"]["bands"]["edge"]
    page = (folder.path / "study.html").read_text()
    rate, gain = edge["scores"]["recovery"]["1"], edge["gains"]["recovery"]["1"]
    seeds = " ".join(f"{one:.3f}" for one in rate["per_seed"])
    shown = f'<td>{rate["mean"]:.3f}</td><td class="soft">{rate["lo"]:.3f} to {rate["hi"]:.3f}</td><td>{seeds}</td>'
    assert "<h2>Recovery</h2>" in page
    assert shown in page
    assert f"<td>{gain['mean']:+.3f}</td>" in page.partition(shown)[2].partition("</tr>")[0]
    assert "recovery rate, band edge" in page, "the claim is told without a k"


@pytest.mark.parametrize(("given", "told"), [(little(seeds=1), False), (recovering(AFTER, seeds=1), True)])
def test_recovery_has_a_place_on_the_page_where_it_was_measured(tmp_path: Path, given: Registration, told: bool):
    folder = left(tmp_path / "s", given, {"arm0": 0.8, "arm1": 0.3})
    write_study(folder)
    assert ("<h2>Recovery</h2>" in (folder.path / "study.html").read_text()) is told


def test_the_same_runs_give_the_same_page_and_figures(tmp_path: Path):
    folder = left(tmp_path / "s", little(), {"arm0": 0.6, "arm1": 0.3})
    write_study(folder)
    first = {p.name: p.read_bytes() for p in (*folder.path.glob("figures/*"), folder.path / "study.html")}
    write_study(folder)
    assert first == {p.name: p.read_bytes() for p in (*folder.path.glob("figures/*"), folder.path / "study.html")}


def test_a_study_with_one_seed_says_that_it_decides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for seeds, says in ((1, True), (2, False)):
        folder = left(tmp_path / f"s{seeds}", little(seeds=seeds), {"arm0": 0.6, "arm1": 0.3})
        report(folder)
        assert ("One seed decides no claim" in (folder.path / "study.html").read_text()) is says
        assert ("one seed decides no claim" in capsys.readouterr().out) is says


def test_what_looks_like_a_formula_in_the_name_of_a_band_is_shown_as_it_is(tmp_path: Path):
    name = "$5-$10"
    band = f"bands.ranges={plain_yaml.write_value({name: {'op': 3}})}"
    given = little(seeds=1).model_copy(update={"overrides": (band, "bands.target=null", "stages.rl.rl.eval=null")})
    tree = given.study.model_dump()
    tree["claims"][0]["band"] = name
    given = given.model_copy(update={"study": Study.model_validate(tree)})
    folder = left(tmp_path / "s", given, {"arm0": 0.6, "arm1": 0.3})
    write_study(folder)
    assert f">{name}</text>" in (folder.path / "figures" / "curves.svg").read_text()
