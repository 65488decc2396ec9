"""A study: arms and seeds from shared stages at equal compute, with claims that are registered before the first run."""
