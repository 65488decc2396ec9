"""Commands for before a run: the recipe and the machine."""
