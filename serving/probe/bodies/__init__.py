"""The bodies of the probe API, a module for each thing that can be asked. No behaviour beyond validation.

Spans are half open, [start, end): `start`/`end` count characters of `text`, `token_start`/`token_end` count the tokens
that the policy wrote.
"""
