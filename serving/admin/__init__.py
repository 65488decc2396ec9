"""Admin routes: load, unload, aliases, canary traffic."""
