"""Benchmarks: `tox run -e bench` prints medians; nothing here passes or fails."""
