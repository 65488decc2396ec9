"""The probe routes: solve, continue, compare, pass@k, verify, draw."""
