"""The evaluation of one model directory, outside of a run."""
