"""Rollouts under measurement: `python -m rollout` from `loadtest/`."""
