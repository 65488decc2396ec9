import gzip
import hashlib
import json

from verifier.render import prompt_text, training_text


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_prompt_and_training_texts_are_the_references(conformance):
    with gzip.open(conformance / "problems.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 618
    for row in rows:
        assert _sha(prompt_text(row["problem"], row["question"])) == row["sha_prompt"]
        text = training_text(row["problem"], row["question"], row["solution"])
        assert _sha(text) == row["sha_train_text"], row["pid"]
