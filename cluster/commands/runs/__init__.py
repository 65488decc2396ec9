"""Commands that start, watch, change or read runs."""
