"""Recipes: reading, overriding and checking them."""
