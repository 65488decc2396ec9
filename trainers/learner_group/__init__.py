"""All ranks of the learner, each a Ray actor, behind one handle."""
