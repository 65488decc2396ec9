"""The independent solver: solves a problem by its text alone, without its graph."""
