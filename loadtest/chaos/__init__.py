"""Faults by the seed under a load whose answers are all judged: `python -m chaos` from `loadtest/`."""
