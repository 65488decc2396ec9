"""Learning: advantages, losses, the DeepSpeed learner, the RL loop, evaluation and the report."""
