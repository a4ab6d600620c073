"""The worlds that a scenario can run in; each gives the same platform through the `Backend` protocol."""
