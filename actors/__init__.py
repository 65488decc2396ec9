"""The acting side: policy, tokens, engines, checkpoints, and the Ray actors that roll out and judge."""
