"""How a model spreads its lists over the catalog, from how often items are listed.

c = lists that an item is in, U = lists, n = all c together, N = items of the catalog.

metric            definition
item_coverage     items with c > 0, / N
gini              Gini coefficient of c over all items: 0 for equal shares, near 1 for a few items
entropy           Shannon entropy of c / n, in bits: 2^entropy items listed equally often have it
personalisation   1 - mean over pairs of lists of common items / the mean length of a list
"""

import numpy as np
import numpy.typing as npt

EXPOSURE = ("item_coverage", "gini", "entropy", "personalisation")


def exposure_metrics(
    counts: npt.NDArray[np.int64], items: npt.NDArray[np.int64], lists: int
) -> dict[str, float]:
    """The metrics by name; those that are not defined are left out.

    counts: the different values of c, also 0; items: how many items have each. lists: not empty.
    """
    order = np.argsort(counts)
    times, sizes = counts[order].astype(np.float64), items[order].astype(np.float64)
    slots, catalog = float(times @ sizes), float(sizes.sum())
    if not slots:
        return {"item_coverage": 0.0} if catalog else {}
    listed = times > 0
    share = times[listed] / slots
    found = {
        "item_coverage": float(sizes[listed].sum()) / catalog,
        "gini": _gini(times, sizes, slots),
        "entropy": float(-(share * np.log2(share)) @ sizes[listed]),
    }
    if lists > 1:
        common = float((times * (times - 1)) @ sizes) / (lists * (lists - 1))
        found["personalisation"] = 1.0 - common / (slots / lists)
    return found


def _gini(times: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], slots: float) -> float:
    """One minus twice the area below the Lorenz curve."""
    held = times * sizes
    before = np.cumsum(held) - held
    area = float((sizes * (before + held / 2)).sum()) / (slots * float(sizes.sum()))
    return 1.0 - 2.0 * area


def lorenz_curve(
    counts: npt.NDArray[np.int64], items: npt.NDArray[np.int64], points: int = 100
) -> list[list[float]]:
    """Share of the items, the most frequent first, and the share of all that they have.

    Pairs from 0, 0 to 1, 1; nothing where all counts are 0.
    """
    order = np.argsort(-counts)
    sizes, held = items[order].astype(np.float64), (counts * items)[order].astype(np.float64)
    if not held.sum():
        return []
    xs, ys = (np.concatenate([[0.0], np.cumsum(part) / part.sum()]) for part in (sizes, held))
    shares = np.linspace(0.0, 1.0, points + 1)
    values = np.interp(shares, xs, ys)
    return [[float(x), round(float(y), 6)] for x, y in zip(shares, values, strict=True)]
