"""The op-graph family: problems drawn from dependency graphs, told in words, judged step by step (arXiv 2512.07783)."""
