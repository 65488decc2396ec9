import json

from tests.golden.judged import FILE, judged


def test_both_judges_say_what_they_have_always_said():
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 28
    for row in rows:
        assert judged(row) == {"strict": row["strict"], "reference": row["reference"]}, row["case"]
        assert row["strict"]["verified"] == row["case"].endswith(" right")
