"""Versioned tables, small objects and the record of runs, under one root."""
