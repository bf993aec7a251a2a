"""New items, which the model cannot know: what their genres say of them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame

from recsys_spark.topn.business_rules import genre_groups, item_indices
from recsys_spark.topn.catalog import Catalog, Mask


def estimate(catalog: Catalog, new: DataFrame, genres: DataFrame | None) -> Catalog:
    """The catalog with factors for those of the new items that it does not score.

    An item's are the mean of its genres', a genre's the mean of its scored items'; where no genre
    is known, the mean of all. They say which new items suit a user, not how well beside others:
    the items stay unscored, and have slots that are reserved for them. new: column item. genres:
    columns item, genres (array<string>).
    """
    wanted = catalog.mask(item_indices(new)) & ~catalog.scored
    factors = catalog.factors.astype(np.float64)
    if not wanted.any() or not catalog.scored.any():
        return catalog
    groups = genre_groups(catalog, genres)
    items = np.repeat(np.arange(len(wanted)), np.diff(groups.indptr))
    size = int(groups.positions.max(initial=-1)) + 1
    of_genres, known = _means(factors, catalog.scored, items, groups.positions, size)
    found, some = _means(of_genres, known, groups.positions, items, len(wanted))
    found[~some] = factors[catalog.scored].mean(axis=0)
    made = catalog.factors.copy()
    made[wanted] = found[wanted]
    return replace(catalog, factors=made)


def _means(
    vectors: npt.NDArray[np.float64],
    known: Mask,
    source: npt.NDArray[np.integer],
    target: npt.NDArray[np.integer],
    size: int,
) -> tuple[npt.NDArray[np.float64], Mask]:
    """The mean of each target's known sources, and whether it has any. source, target: of pairs."""
    source, target = source[known[source]], target[known[source]]
    sums = np.zeros((size, vectors.shape[1]))
    np.add.at(sums, target, vectors[source])
    counts = np.bincount(target, minlength=size)
    return sums / np.maximum(counts, 1)[:, None], counts > 0
