"""The Spark ML interface: estimator, model, parameters."""
