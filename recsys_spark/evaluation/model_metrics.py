"""All metrics of the lists of several models, user by user."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys_spark.arrow import list_parts
from recsys_spark.evaluation.beyond_accuracy import ItemTraits
from recsys_spark.evaluation.model_lists import FULL_RANKING, LISTS
from recsys_spark.evaluation.ranking import ALL
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS, list_metrics
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from recsys_spark.kernels.metrics.list_overlap import AGREEMENT, list_agreement
from recsys_spark.kernels.metrics.ranking import METRICS, Relevant, measure_lists, prepare_truth
from recsys_spark.kernels.ragged import Coded
from recsys_spark.lookup import Lookup

BY_CUTOFF = (*METRICS, *LIST_METRICS, *AGREEMENT)
ALL_METRICS = (*BY_CUTOFF, *RANK_METRICS)

Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """What is measured, and by what.

    traits: of the items of the catalog. models: names, in the order of the lists. reference: the
    one whose lists the others' are compared with. k: cut-offs, ascending. split: what the truth is
    called. parts: names of parts of the truth that are measured by themselves, of which the last
    holds the items outside the catalog. part_of: (items,) which part each item of `traits.ids` is
    in; without parts, not used.
    """

    traits: ItemTraits
    models: tuple[str, ...]
    reference: str
    k: tuple[int, ...]
    split: str
    parts: tuple[str, ...] = ()
    part_of: Whole = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def lookup(self) -> Lookup:
        """Where internal ids stand among the traits."""
        return Lookup(self.traits.ids)

    @property
    def cutoffs(self) -> Whole:
        return np.array(self.k, dtype=np.int64)

    def codes(self, ids: Whole) -> Whole:
        """A number for each id: its position, or one behind all positions."""
        at = self.lookup.positions(ids).astype(np.int64)
        return np.where(at >= 0, at, len(self.traits.ids) + ids)

    def parts_of(self, codes: Whole) -> Whole:
        """In which part of the truth the items with these codes are."""
        out = np.full(len(codes), len(self.parts) - 1, dtype=np.int64)
        inside = codes < len(self.traits.ids)
        out[inside] = self.part_of[codes[inside]]
        return out


class _Coded(NamedTuple):
    """Row i's items are codes[indptr[i]:indptr[i + 1]]."""

    indptr: Whole
    codes: Whole

    @property
    def rows(self) -> Whole:
        """The row of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def where(self, rows: Mask) -> "_Coded":
        lengths = np.diff(self.indptr)
        kept = self.codes[np.repeat(rows, lengths)]
        return _Coded(np.concatenate([[0], np.cumsum(lengths[rows])]), kept)


class _Part(NamedTuple):
    """A part of the truth of the users, (users,), who have one."""

    name: str
    users: Mask
    truth: Relevant


class _Users(NamedTuple):
    """A batch of users.

    lists: by model. history: positions. rank_metrics: (users, models, metrics).
    """

    lists: list[_Coded]
    history: _Coded
    parts: list[_Part]
    rank_metrics: Values


class Rows(NamedTuple):
    """Rows of the table: of users, each as often as there are cut-offs, and metrics by name.

    users: (batch,) which. metrics: (users, cut-offs) each, or (users,) without cut-offs.
    """

    users: Mask
    segment: str
    k: Whole | None
    metrics: dict[str, Values]

    def of(self, names: Sequence[str]) -> Values:
        """(users, cut-offs or 1, names), NaN for metrics that are not defined."""
        users, cutoffs = int(self.users.sum()), 1 if self.k is None else len(self.k)
        out = np.full((users, cutoffs, len(names)), np.nan)
        for name, own in self.metrics.items():
            out[..., names.index(name)] = own.reshape(users, cutoffs)
        return out


Metrics = dict[str, list[Rows]]  # of each model


def measure_batch(batch: pa.RecordBatch, measures: Measures) -> Metrics:
    """All metrics of the lists of some users (docs/metrics.md), by model.

    Parameters
    ----------
    batch
        From `user_rows.unpacked`, with the columns of `model_lists.rank_batch`.
    measures
        What is measured.

    Returns
    -------
    dict
        Of each model: its rows with cut-offs, of the whole truth, which have all metrics that have
        a cut-off, and of each part of the truth that some of the users have items of, which have
        those of ranking; and rows without cut-off with those of the full ranking, where there is
        one.
    """
    users = _read_users(batch, measures)
    return {
        name: list(_rows_of_model(users, at, measures)) for at, name in enumerate(measures.models)
    }


def _read_users(batch: pa.RecordBatch, measures: Measures) -> _Users:
    truth = _coded(batch.column("truth"), measures)
    values = list_parts(batch.column("values"), np.float64)[1]
    gains = np.where(np.isfinite(values), values, 0.0)
    nested, models = batch.column(LISTS), len(measures.models)
    lists = _coded(nested.flatten(), measures)
    of_model = np.arange(len(nested) * models) % models
    rank_metrics = list_parts(batch.column(FULL_RANKING), np.float64)[1]
    return _Users(
        [lists.where(of_model == at) for at in range(models)],
        _history(batch, measures),
        list(_parts(truth, gains, measures)),
        rank_metrics.reshape(len(nested), models, len(RANK_METRICS)),
    )


def _coded(column: pa.ListArray, measures: Measures) -> _Coded:
    indptr, ids = list_parts(column, np.int64)
    return _Coded(indptr, measures.codes(ids))


def _history(batch: pa.RecordBatch, measures: Measures) -> _Coded:
    """The items that lists leave out, each once, ascending."""
    items = len(measures.traits.ids)
    both = [_coded(batch.column(name), measures) for name in ("history", "known")]
    rows, codes = (np.concatenate([getattr(p, name) for p in both]) for name in ("rows", "codes"))
    cells = np.sort(rows[codes < items] * items + codes[codes < items])
    cells = cells[np.diff(cells, prepend=-1) > 0]
    indptr = np.searchsorted(cells, np.arange(batch.num_rows + 1) * items)
    return _Coded(indptr, cells % max(items, 1))


def _parts(truth: _Coded, gains: Values, measures: Measures) -> Iterator[_Part]:
    """The whole truth, which every user has, and its parts."""
    users = len(truth.indptr) - 1
    ks = measures.cutoffs
    yield _Part(ALL, np.ones(users, dtype=bool), prepare_truth(*truth, ks, gains))
    part_of = measures.parts_of(truth.codes) if measures.parts else np.zeros(0, np.int64)
    for at, name in enumerate(measures.parts):
        own = part_of == at
        counts = np.bincount(truth.rows[own], minlength=users)
        indptr = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        if own.any():
            relevant = prepare_truth(indptr, truth.codes[own], ks, gains[own])
            yield _Part(name, counts > 0, relevant)


def _rows_of_model(users: _Users, at: int, measures: Measures) -> Iterator[Rows]:
    lists, ks = users.lists[at], measures.cutoffs
    for part in users.parts:
        own = lists if part.name == ALL else lists.where(part.users)
        values, hits = measure_lists(Coded(*own), part.truth, ks)
        metrics = _named(METRICS, values)
        if part.name == ALL:
            metrics |= _named(LIST_METRICS, _list_metrics(users, lists, hits, measures))
            metrics |= _agreement(users, at, measures)
        yield Rows(part.users, part.name, ks, metrics)
    rank_metrics = users.rank_metrics[:, at]
    ranked = np.asarray(~np.isnan(rank_metrics).all(axis=1))
    if ranked.any():
        yield Rows(ranked, ALL, None, _named(RANK_METRICS, rank_metrics[ranked]))


def _named(names: tuple[str, ...], values: Values) -> dict[str, Values]:
    """Values by metric, the last axis."""
    return dict(zip(names, np.moveaxis(values, -1, 0), strict=True))


def _list_metrics(users: _Users, lists: _Coded, hits: Mask, measures: Measures) -> Values:
    items = len(measures.traits.ids)
    codes = np.where(lists.codes < items, lists.codes, -1)
    history, traits = Coded(*users.history), measures.traits.traits
    known = Coded(lists.indptr, codes)
    return list_metrics(known, hits & (codes >= 0), history, traits, measures.cutoffs)


def _agreement(users: _Users, at: int, measures: Measures) -> dict[str, Values]:
    """How similar the lists are to the reference's, which have none themselves."""
    other = measures.models.index(measures.reference)
    if at == other:
        return {}
    values = list_agreement(*users.lists[at], *users.lists[other], measures.cutoffs)
    return _named(AGREEMENT, values)
