"""The algorithms that a recipe can name, a small module each; `trainers.algorithms.registry` lists them."""
