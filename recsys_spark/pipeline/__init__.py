"""The wiring: read tables, call one stage, write tables, keep the record."""
