"""What lists are like, beside whether they are right: novel, popular, diverse, like the history.

N = items of the catalog; n = listed items of known traits, at most k; a mean over none of them
has no value (NaN).

metric               definition at cut-off k
novelty              mean of -log2(share of the users who have the item), its self-information
popularity_rank      mean of the item's rank by popularity, / N; tied items share their mean rank
serendipity          sum over hits of max(0, (popularity rank - rank in the list) / N), / k
diversity            mean over pairs of 1 - cosine of their factors
attribute_diversity  mean over pairs of 1 - cosine of their attributes, each 0 or 1
miscalibration       Kullback-Leibler divergence of the attributes' shares in the list from those in
                     the user's history, a hundredth of which is mixed into the list; 0 is the best

Self-information: Vargas, Castells 2011. Serendipity: Murakami, Mori, Orihara 2008, with ranks in
place of probabilities as in RecTools. Calibration: Steck 2018, equations 2 to 4, natural logarithm;
an item's attributes share its weight of 1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.jit import jit, kernel
from recsys_spark.kernels.ragged import Coded

LIST_METRICS = (
    "novelty",
    "popularity_rank",
    "serendipity",
    "diversity",
    "attribute_diversity",
    "miscalibration",
)
MIXED_IN = 0.01

_Whole = npt.NDArray[np.int64]
_Double = npt.NDArray[np.float64]


class Traits(NamedTuple):
    """Of the items: self-information and popularity rank (items,), factors of length 1 or 0
    (items, rank), and attributes, item i's at attributes[indptr[i]] to [indptr[i + 1]].
    """

    information: _Double
    popularity_rank: _Double
    factors: _Double
    indptr: _Whole
    attributes: _Whole


def list_metrics(
    lists: Coded,
    hits: npt.NDArray[np.bool_],
    history: Coded,
    traits: Traits,
    cutoffs: _Whole,
) -> _Double:
    """Metrics of every user, shape (users, cut-offs, metrics) in the order of LIST_METRICS.

    lists: positions of the recommended items, best first, -1 of one without traits. hits: which of
    them are relevant. history: positions of the items that the user has. cutoffs: ascending.
    """
    out = np.full((len(lists.indptr) - 1, len(cutoffs), len(LIST_METRICS)), np.nan)
    _metrics(lists, hits, history, traits, cutoffs, out)
    return out


@kernel
def _metrics(lists, hits, history, traits, cutoffs, out):  # type: ignore[no-untyped-def]
    names = traits.attributes.max() + 1 if len(traits.attributes) else 0
    items = len(traits.information)
    shares, found, counts = np.zeros(names), np.zeros(names), np.zeros(names)
    direction = np.zeros(traits.factors.shape[1])
    for user in range(len(lists.indptr) - 1):
        shares[:], found[:], counts[:], direction[:] = 0.0, 0.0, 0.0, 0.0
        mine = history.codes[history.indptr[user] : history.indptr[user + 1]]
        known = _add_shares(shares, mine, traits)
        listed = lists.codes[lists.indptr[user] : lists.indptr[user + 1]]
        n, placed, named, rank = 0, 0, 0, 0
        information, popularity, surprise, together, similar = 0.0, 0.0, 0.0, 0.0, 0.0
        for at, k in enumerate(cutoffs):
            while rank < min(k, len(listed)):
                item = listed[rank]
                rank += 1
                if item < 0:
                    continue
                n += 1
                information += traits.information[item]
                popularity += traits.popularity_rank[item]
                if hits[lists.indptr[user] + rank - 1]:
                    surprise += max(0.0, traits.popularity_rank[item] - rank) / items
                one, cosines = _meet_factors(direction, traits.factors[item])
                placed, together = placed + one, together + cosines
                one, cosines = _meet_attributes(counts, item, traits)
                named, similar = named + one, similar + cosines
                _add_shares(found, listed[rank - 1 : rank], traits)
            row = out[user, at]
            row[2] = surprise / k
            if n > 0:
                row[0] = information / n
                row[1] = popularity / n / items
            if placed > 1:
                row[3] = 1.0 - 2.0 * together / (placed * (placed - 1))
            if named > 1:
                row[4] = 1.0 - 2.0 * similar / (named * (named - 1))
            if named > 0 and known > 0:
                row[5] = _divergence(shares, known, found, named)


@jit
def _add_shares(shares, items, traits):  # type: ignore[no-untyped-def]
    """Deal out each item's weight of 1 to its attributes; how many items have any."""
    known = 0
    for item in items:
        if item < 0:
            continue
        start, stop = traits.indptr[item], traits.indptr[item + 1]
        known += stop > start
        for entry in range(start, stop):
            shares[traits.attributes[entry]] += 1.0 / (stop - start)
    return known


@jit
def _meet_factors(direction, factors):  # type: ignore[no-untyped-def]
    """1 and the sum of the cosines with the items before, which add up in `direction`.

    0 and 0 without factors.
    """
    length, cosines = 0.0, 0.0
    for at in range(len(factors)):
        length += factors[at] * factors[at]
        cosines += direction[at] * factors[at]
        direction[at] += factors[at]
    return (1 if length > 0.0 else 0), cosines


@jit
def _meet_attributes(counts, item, traits):  # type: ignore[no-untyped-def]
    """The same for attributes, 0 or 1."""
    start, stop = traits.indptr[item], traits.indptr[item + 1]
    scale, cosines = 1.0 / np.sqrt(max(stop - start, 1)), 0.0
    for entry in range(start, stop):
        cosines += counts[traits.attributes[entry]] * scale
        counts[traits.attributes[entry]] += scale
    return (1 if stop > start else 0), cosines


@jit
def _divergence(shares, known, found, named):  # type: ignore[no-untyped-def]
    total = 0.0
    for at in range(len(shares)):
        if shares[at] > 0.0:
            wanted = shares[at] / known
            given = (1.0 - MIXED_IN) * found[at] / named + MIXED_IN * wanted
            total += wanted * np.log(wanted / given)
    return total
