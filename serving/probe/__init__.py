"""The probe routes: solve, continue, compare, pass@k, recovery, verify, draw."""
