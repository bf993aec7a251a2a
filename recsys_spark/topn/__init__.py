"""From scores to top-N lists: item catalog, business rules, explanations, similar items."""
