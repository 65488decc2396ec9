"""The composition root: recipes, runs, studies, the start of Ray, jobs, and every command."""
