"""What a run leaves for a person: its report, its diagnosis, the rollouts that it kept."""
