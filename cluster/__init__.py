"""The composition root: recipes, runtime, jobs, doctor and everything a person types."""
