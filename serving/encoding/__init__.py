"""Prompts to token ids and tokens to bytes: the tokenizer of one checkpoint."""
