"""The strict judge: reads a trace, executes each step and says which one is wrong and why."""
