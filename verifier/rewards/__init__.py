"""Judgements to numbers: rewards by name, several with weights, and the user's own by import path."""
