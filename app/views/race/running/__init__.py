"""A study while it runs: its trials, their curves, and M as it grows."""
