"""Commands about op-graph problems: they are written, judged or solved from their words."""
