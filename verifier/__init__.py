"""Problems and their truth: generator, renderer, solver, verifier, rewards and estimators.

Imports the standard library and pydantic only, so that it loads in a fraction of a second anywhere.
"""
