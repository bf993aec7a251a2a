"""Every side effect: the session, files and tables, run records, tracking, the log."""
