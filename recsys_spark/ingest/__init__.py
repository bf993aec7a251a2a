"""From events to interactions: validation, duplicates, k-core and indices, on DataFrames."""
