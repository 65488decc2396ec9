"""Losses and advantages: pure arithmetic on tokens and rewards."""
