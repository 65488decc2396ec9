"""One run: its folder, which command works in it, and how another process reaches it."""
