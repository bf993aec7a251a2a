"""Training where no process holds a side whole: factors are shuffled to blocks."""
