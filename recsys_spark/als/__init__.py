"""Weighted alternating least squares on Spark: training data, half-sweeps, factor placements."""
