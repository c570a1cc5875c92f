"""Measurements of the tool itself; each folder runs as ``python -m bench.NAME``."""
