"""What a budget in tokens is counted with."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.files.problems import token_counter
from verifier.errors import UserError


@pytest.mark.parametrize(
    ("text", "told"), [(None, "does not exist"), ("{", "cannot be read"), ("{}", "cannot be read")]
)
def test_a_folder_without_a_tokenizer_that_can_be_read_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match=told) as refused:
        token_counter(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(refused.value)
