"""The package is light: it asks for the standard library and pydantic alone."""

import json
import pkgutil
import subprocess
import sys

import verifier

MODULES = [module.name for module in pkgutil.walk_packages(verifier.__path__, "verifier.")]
PYDANTIC_NEEDS = ("annotated_types", "pydantic_core", "typing_extensions", "typing_inspection")
CODE = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_all_modules_need_the_standard_library_and_pydantic_alone():
    command = [sys.executable, "-c", CODE, *MODULES]
    packages = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    others = {name for name in packages if not name.startswith("_sysconfigdata")} - sys.stdlib_module_names
    assert others <= {"verifier", "pydantic", *PYDANTIC_NEEDS}
