"""Arrays in, arrays out: the arithmetic, free of Spark, files, clock and environment."""
