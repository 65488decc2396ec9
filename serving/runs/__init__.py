"""A run's page over HTTP: its stages, curves, findings and kept rollouts, and the steps of a live run as they come."""
