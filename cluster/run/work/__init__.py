"""The work of a run: its stages in order, the actors they run on, and what is shown meanwhile."""
