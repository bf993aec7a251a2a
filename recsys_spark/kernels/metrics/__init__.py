"""Metrics of lists and full rankings, on arrays."""
