"""Fixtures for the scenarios and the contract tests."""

pytest_plugins = ["fixtures.datasets"]
