"""Inference engines behind one protocol: vLLM, and plain torch as the tests' reference."""
