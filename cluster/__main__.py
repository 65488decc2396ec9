"""`python -m cluster`: the `interplay` command where only the packages are available, as in a Ray job."""

import sys

try:
    from cluster.cli import main
except ModuleNotFoundError as error:
    print(
        f"error: {sys.executable} has no {error.name}: it is not the environment that Interplay was installed into. "
        "fix: start Ray with that environment's bin first on PATH, or name its python: interplay submit --python",
        file=sys.stderr,
    )
    sys.exit(2)

main()
