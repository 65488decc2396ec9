"""One run: its stages, its folder, its progress, and how another process reaches it."""
