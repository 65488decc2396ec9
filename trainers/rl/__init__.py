"""The RL stage: its loop, its curriculum, its buffer."""
