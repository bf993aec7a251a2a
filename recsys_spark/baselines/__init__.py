"""Recommenders that others are measured beside."""
