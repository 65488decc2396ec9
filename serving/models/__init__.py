"""Which checkpoints there are, which engines hold them, and who is sent to which."""
