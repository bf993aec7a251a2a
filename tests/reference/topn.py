"""Top-N of one user by sorting everything."""


def top_n(scores, candidates, seen, n):
    """The n best (position, score) pairs, ties to the smaller position."""
    allowed = [
        (position, score)
        for position, score in enumerate(scores)
        if candidates[position] and position not in seen
    ]
    return sorted(allowed, key=lambda pair: (-pair[1], pair[0]))[:n]
