"""Next-token training on texts: pre-training, mid-training, supervised training, rejection sampling."""
