"""Next-token training on gold traces: pre-training and mid-training."""
