"""One module per sub-command, in the folder of what it is about, each with a `main`; loaded only when it is called."""
