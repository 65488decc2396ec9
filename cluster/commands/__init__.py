"""One module per sub-command, each with a `main` that carries the signature; loaded only when it is called."""
