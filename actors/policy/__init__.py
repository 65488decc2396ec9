"""The policy as files and tensors: model, tokenizer, checkpoints."""
