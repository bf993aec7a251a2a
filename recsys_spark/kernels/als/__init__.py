"""The arithmetic of weighted alternating least squares, on arrays."""
