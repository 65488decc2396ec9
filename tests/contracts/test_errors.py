"""Every exception class of the five packages hangs on one of the roots drawn in `verifier.errors`."""

from __future__ import annotations

import ast
import builtins
import pickle
from functools import cache
from pathlib import Path

import pytest

import verifier.errors
from verifier.errors import BadMixture, Failure, UserError

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("verifier", "actors", "trainers", "serving", "cluster")
ROOTS = {"UserError", "Failure", "Signal", "ApiError"}
BUILT_IN = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


@cache
def trees() -> list[ast.Module]:
    paths = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    return [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths]


@cache
def classes() -> dict[str, ast.ClassDef]:
    return {node.name: node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def ancestors(name: str, known: dict[str, ast.ClassDef]) -> set[str]:
    bases = {ast.unparse(base).rpartition(".")[2] for base in known[name].bases} if name in known else set()
    return bases.union(*(ancestors(base, known) for base in bases))


@cache
def exceptions() -> dict[str, set[str]]:
    known = classes()
    return {name: up for name in known if (up := ancestors(name, known)) & BUILT_IN}


def test_every_exception_class_has_one_of_the_roots():
    loose = {name for name, up in exceptions().items() if not (up | {name}) & ROOTS}
    assert not loose, f"give these a root of verifier.errors: {sorted(loose)}"


def test_no_exception_class_has_two_roots():
    assert not {name for name, up in exceptions().items() if len(up & ROOTS) > 1}


def test_the_tree_in_the_docstring_names_every_error_that_can_reach_a_person():
    drawn = set((verifier.errors.__doc__ or "").replace("\n", " ").split())
    known = exceptions()
    direct = {
        name for name, node in classes().items() if {ast.unparse(b) for b in node.bases} & {"UserError", "Failure"}
    }
    assert direct <= drawn, f"draw these in verifier/errors.py: {sorted(direct - drawn)}"
    assert not {word for word in drawn if word.endswith("Error") and word not in known and "." not in word}


def has_usual_fix(name: str, known: dict[str, ast.ClassDef]) -> bool:
    lines = known[name].body if name in known else []
    own = any(isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "fix" for line in lines)
    return own or any(has_usual_fix(base, known) for base in ancestors(name, known) - BUILT_IN)


def test_whatever_a_person_can_cause_is_raised_with_a_fix():
    known = classes()
    users = {name for name, up in exceptions().items() if "UserError" in up | {name}}
    bare = [
        ast.unparse(call)
        for tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and (name := ast.unparse(call.func).rpartition(".")[2]) in users
        and len(call.args) + len(call.keywords) < 2
        and not has_usual_fix(name, known)
    ]
    assert not bare


def test_an_error_crosses_processes_with_its_fix():
    for error in (UserError("no such file.", "Name one."), BadMixture("no cell"), Failure("gone", "again")):
        other = pickle.loads(pickle.dumps(error))
        assert (str(other), other.fix) == (str(error), error.fix)
        assert type(other) is type(error)


def test_a_users_error_without_a_fix_is_our_own_mistake():
    with pytest.raises(AssertionError, match="without a fix"):
        UserError("bad")
