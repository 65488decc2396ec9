"""Held-out evaluation, the report of a run, and the ledger of what it cost."""
