"""From a prompt to a completion: tokens, text, answers."""
