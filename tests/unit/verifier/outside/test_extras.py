import sys
import warnings

import pytest

from verifier.errors import BadTask
from verifier.outside.extras import need


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    with pytest.raises(BadTask, match=r"python -m pip install 'no-such==1.0'"):
        need("no_such_module", "math", "no-such==1.0")


def test_warnings_about_the_source_of_an_extra_are_not_shown(tmp_path, monkeypatch):
    (tmp_path / "badly_written.py").write_text("VALUE = 1 is 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert need("badly_written", "gym", "badly-written==1.0").VALUE
    assert not shown
