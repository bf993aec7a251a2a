"""The process and its surroundings: session, JVM, log, tracking, signals, failures."""
