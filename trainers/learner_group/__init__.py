"""All ranks of the learner under Ray Train, behind one handle."""
