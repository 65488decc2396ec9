import gzip
import json
import math
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from verifier.answers.family import AnswersConfig
from verifier.answers.rows import read_rows
from verifier.errors import TooFewItems
from verifier.families import config_of, open_task
from verifier.task import SPLITS, Message, Stratum

ROWS = [
    {"id": f"r{n}", "prompt": f"What is {n} + {n}?", "answer": 2 * n, "stratum": "odd" if n % 2 else "even"}
    for n in range(200)
]


def written(folder, rows, name="rows.jsonl"):
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def config(file, **settings) -> AnswersConfig:
    return AnswersConfig.model_validate({"family": "answers", "file": str(file), **settings})


def test_jsonl_gzip_and_parquet_give_the_same_items(tmp_path):
    rows = [{**row, "answer": str(row["answer"])} for row in ROWS]
    plain = written(tmp_path, rows)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    columns = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), columns)
    tasks = [open_task(config(file)) for file in (plain, packed, columns)]
    for task in tasks[1:]:
        assert task.strata() == tasks[0].strata() == (Stratum.of(stratum="even"), Stratum.of(stratum="odd"))
        for index in range(20):
            arguments = task.strata()[index % 2], 5, index, "train"
            assert task.item(*arguments) == tasks[0].item(*arguments)


def test_rows_keep_to_one_split_and_every_row_can_be_drawn(tmp_path):
    task = open_task(config(written(tmp_path, ROWS)))
    seen = {
        split: {task.item(stratum, 1, index, split).id for stratum in task.strata() for index in range(2000)}
        for split in SPLITS
    }
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert sum(len(ids) for ids in seen.values()) == len(ROWS)
    stratum = task.strata()[0]
    held_out = task.held_out(stratum, 3, seed=2)
    assert held_out[:2] == task.held_out(stratum, 2, seed=2)
    assert len({item.id for item in held_out}) == 3
    assert pickle.loads(pickle.dumps(held_out)) == held_out
    assert [task.item(i.address.stratum, i.address.seed, i.address.index, "test") for i in held_out] == list(held_out)
    with pytest.raises(TooFewItems, match="test rows, not 1000"):
        task.held_out(stratum, 1000, seed=2)


def test_the_files_own_split_ids_messages_and_gold_are_taken(tmp_path):
    rows = [
        {"prompt": "a?", "answer": "A", "split": "train", "gold": " A"},
        {"messages": [{"role": "user", "content": "b?"}], "answer": "B", "split": "test", "gold": " B"},
    ]
    task = open_task(config(written(tmp_path, rows)))
    (stratum,) = task.strata()
    train, test = task.item(stratum, 0, 0, "train"), task.item(stratum, 0, 0, "test")
    assert (train.id, train.prompt, train.gold) == ("1", "a?", " A")
    assert (test.id, test.prompt) == ("2", (Message("user", "b?"),))
    assert task.has_gold
    assert task.judge(test, " b").right


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "a", "answer": "b"}, {"prompt": "a"}], "line 2: answer: Field required"),
        ([{"answer": "b"}], "line 1: the row: Value error, give either prompt or messages"),
        ([{"prompt": "a", "answer": ["b"]}], "line 1: answer"),
        ([{"prompt": "a", "answer": "b", "split": "dev"}], "line 1: split: Input should be 'train', "),
        ([{"prompt": "", "answer": "b"}], "line 1: prompt: String should have at least 1 character"),
        ([{"messages": [{"role": "boss", "content": "x"}], "answer": "b"}], "line 1: messages.0.role"),
        (
            [{"id": 1, "prompt": "a", "answer": "b"}, {"id": "1", "prompt": "c", "answer": "d"}],
            "line 2: id: '1' is that of line 1 too",
        ),
        ([{"prompt": "a", "answer": "b"}, {"prompt": "c", "answer": " "}], 'line 2: answer: .*a number, not " "'),
        ([{"prompt": "a", "answer": True}], "line 1: answer: .*a text or a number, not true"),
        ([{"prompt": "a", "answer": "b", "split": "train"}], "no row is of the test split"),
        ([{"prompt": "a", "answer": "b", "split": "test"}], "no row is of the train split"),
        ([{"prompt": "a", "answer": math.nan}], "line 1: answer: .*a text or a number, not NaN"),
        ([{"prompt": "a", "answer": math.inf}], "line 1: answer: .*a text or a number, not Infinity"),
        (
            [{"prompt": "a", "answer": "b", "stratum": 1}, {"prompt": "c", "answer": "d", "stratum": "1"}],
            "line 2: stratum: '1' reads like 1 of an earlier row; write both as texts or both as numbers",
        ),
        ([], "has no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_line_and_field(tmp_path, rows, message):
    with pytest.raises(ValidationError, match=message):
        config(written(tmp_path, rows))


def test_lines_that_are_no_json_and_files_that_are_broken_or_missing_are_named(tmp_path):
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"prompt": "a", "answer": "b"}\n\n{"prompt": \n')
    with pytest.raises(ValidationError, match=r"torn\.jsonl, line 3: no JSON"):
        config(torn)
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"prompt": "a", "answer": "b"}\n' * 1000)[:40])
    with pytest.raises(ValidationError, match="cannot be read to its end"):
        config(packed)
    spoiled = bytearray(gzip.compress(b'{"prompt": "a", "answer": "b"}\n' * 1000))
    spoiled[30:40] = b"\xff" * 10
    packed.write_bytes(spoiled)
    with pytest.raises(ValidationError, match="cannot be read to its end"):
        config(packed)
    columns = tmp_path / "no.parquet"
    columns.write_text("no columns")
    with pytest.raises(ValidationError, match="not a readable Parquet file"):
        config(columns)
    with pytest.raises(ValidationError, match="there is no file"):
        config(tmp_path / "nowhere.jsonl")


def test_a_number_is_an_answer_as_a_person_writes_it(tmp_path):
    file = written(tmp_path, [{"prompt": split, "answer": 0.00001, "split": split} for split in ("train", "test")])
    task = config(file).task()
    item = task.item(task.strata()[0], 0, 0, "train")
    assert task.judge(item, "0.00001").right


def test_rows_that_name_no_stratum_are_told_from_one_that_is_called_none(tmp_path):
    rows = [{"prompt": "a", "answer": 1, "split": "train"}, {"prompt": "b", "answer": 2, "split": "test"}]
    task = config(written(tmp_path, [*rows, {**rows[0], "stratum": "None"}])).task()
    assert task.strata() == (Stratum.of(stratum="None"), Stratum.of(stratum="all"))


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    file = written(tmp_path, ROWS)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_rows(file) == read_rows(packed) == read_rows(written(tmp_path, ROWS, "plain.jsonl"))


def test_a_line_is_counted_with_the_empty_ones_before_it(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n\n".join(json.dumps({"id": 7, "prompt": prompt, "answer": 1}) for prompt in "ab"))
    with pytest.raises(ValidationError, match=r"rows\.jsonl, line 3: id: 7 is that of line 1 too"):
        config(file)


@pytest.mark.parametrize(
    ("checker", "good", "bad", "told"),
    [("number", "1,000", "three", "'three' is no number"), ("choice", "(b).", "Paris", "'Paris' is no single letter")],
)
def test_an_answer_that_no_text_can_equal_is_refused_with_its_line(tmp_path, checker, good, bad, told):
    rows = [{**row, "answer": good} for row in ROWS]
    assert config(written(tmp_path, rows), checker=checker).task().strata()
    with pytest.raises(ValidationError, match=f"line 201: answer: {told}; take the checker exact"):
        config(written(tmp_path, [*rows, {"prompt": "a", "answer": bad}], "bad.jsonl"), checker=checker)


@pytest.mark.parametrize(
    ("checker", "answer", "good", "bad"),
    [
        ("exact", "4", "2 + 2 is\n#### 4", "2 + 2 is 4"),
        ("choice", "B", "It is B.", "It is A."),
        ("number", "4", "2 + 2 is 4.0", "2 + 2 is 5"),
        ("math", "1/2", r"\boxed{\frac{1}{2}}", r"\boxed{2}"),
    ],
)
def test_a_gold_text_that_is_judged_wrong_is_refused_with_its_line(tmp_path, checker, answer, good, bad):
    rows = [{"prompt": split, "answer": answer, "split": split, "gold": good} for split in ("train", "test")]
    task = config(written(tmp_path, rows), checker=checker).task()
    item = task.item(task.strata()[0], 0, 0, "train")
    assert task.judge(item, item.gold or "").right
    told = (
        rf"line 2: gold: the checker {checker} does not find the answer '{answer}' in it; end the text with the answer"
    )
    with pytest.raises(ValidationError, match=told):
        config(written(tmp_path, [rows[0], {**rows[1], "gold": bad}], "bad.jsonl"), checker=checker)


def test_a_relative_path_is_kept_as_an_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(written(tmp_path, ROWS).parent)
    made = config("rows.jsonl")
    assert made.file == tmp_path / "rows.jsonl"
    assert config_of("answers").model_validate_json(made.model_dump_json()) == made
