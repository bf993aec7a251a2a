"""Weighted alternating least squares on Spark: blocks, half-sweeps, the ML Estimator and Model."""
