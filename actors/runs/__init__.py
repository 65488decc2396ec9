"""What a run's folder tells while it grows and afterwards: its steps as curves, its stages and its workers."""
