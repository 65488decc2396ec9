"""What nothing calls: vulture over the source and the benchmarks. A function that only tests call is dead code.

`make check` runs it. A crash of vulture fails the check: its exit code is 0 (nothing found) or 3 (findings).
"""

from __future__ import annotations

import re
import subprocess
import sys

CERTAIN = re.compile(r"unused (function|method|class|property|import)|unused variable .* \(100%")
"""The findings that count. Fields of records are used by whoever reads them as JSON, which vulture cannot see."""


def main() -> int:
    """Print the findings; 1 if there is one, or vulture's own exit code if it crashed."""
    done = subprocess.run([sys.executable, "-m", "vulture"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        print(done.stdout + done.stderr)
        return done.returncode
    found = [line for line in done.stdout.splitlines() if CERTAIN.search(line)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
