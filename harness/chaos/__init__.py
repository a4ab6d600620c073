"""Chaos: faults in the phases of a rollout, and what must hold whatever fails; docs/chaos.md is the guide."""
