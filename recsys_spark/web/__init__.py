"""A local web page for trying out the tables."""
