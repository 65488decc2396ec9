"""One rank of the DeepSpeed learner, and the packed token streams it computes on."""
