"""The arithmetic between factors and lists, on arrays."""
