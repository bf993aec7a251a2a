"""Readers of what comes from outside: events, side tables, published splits."""
