"""What went wrong in an RL stage, in words: rules over the numbers of its steps, each with evidence and a knob."""
