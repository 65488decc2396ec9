"""Training: advantages, losses, the DeepSpeed learner, pre-training, the RL loop, evaluation and the report."""
