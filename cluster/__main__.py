"""`python -m cluster` is `interplay`: for job entry points, where the packages travel but no script is installed."""

from cluster.cli import main

main()
