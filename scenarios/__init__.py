"""Scenarios: what a team wants to know before a release."""
