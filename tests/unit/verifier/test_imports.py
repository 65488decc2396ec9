"""The package is light: it imports in a moment and asks for the standard library and pydantic alone."""

import json
import os
import pkgutil
import subprocess
import sys

import verifier

MODULES = [module.name for module in pkgutil.walk_packages(verifier.__path__, "verifier.")]
PYDANTIC_NEEDS = ("annotated_types", "pydantic_core", "typing_extensions", "typing_inspection")
CODE = """
import importlib, json, sys, time
before, start = set(sys.modules), time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
spent = time.process_time() - start
print(json.dumps([spent, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""


def _run(cache):
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", CODE, *MODULES]
    return json.loads(subprocess.run(command, env=environ, capture_output=True, check=True, timeout=60).stdout)


def test_all_modules_import_in_a_moment_from_the_standard_library_and_pydantic_alone(tmp_path):
    _run(tmp_path)  # compiles
    seconds, packages = _run(tmp_path)
    others = {name for name in packages if not name.startswith("_sysconfigdata")} - sys.stdlib_module_names
    assert others <= {"verifier", "pydantic", *PYDANTIC_NEEDS}
    assert seconds <= 0.6  # of processor time, whatever else the machine does
