"""Which rows train, validate and test, and how they overlap."""
