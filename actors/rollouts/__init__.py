"""Rollouts kept: the judged groups of RL stages as Parquet files, written beside the loop and read back."""
