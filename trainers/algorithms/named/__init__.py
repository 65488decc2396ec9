"""The algorithms that a recipe can name, one small module each; `trainers.algorithms.registry` lists them."""
