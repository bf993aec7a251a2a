"""The lists of a batch of users, by one task."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys_spark.arrow import list_array, list_bounds, list_matrix, list_parts
from recsys_spark.kernels.ragged import Ragged, no_entries
from recsys_spark.kernels.topn.group_scores import Opinion, group_scores, member_scores
from recsys_spark.kernels.topn.inner_product import Items, Positions, arrange
from recsys_spark.kernels.topn.rerank import (
    Popular,
    Ranked,
    fill_popular,
    rank,
    rank_pools,
    rank_scores,
    rank_tile,
    reserve,
)
from recsys_spark.kernels.topn.tile import Tile, leave_out, user_blocks
from recsys_spark.lookup import Lookup
from recsys_spark.topn.blocks import read_block
from recsys_spark.topn.catalog import (
    NOTHING,
    POPULAR,
    POPULAR_IN_SEGMENT,
    Listing,
    Mask,
    Segment,
    Tally,
)
from recsys_spark.topn.explanations import Parts, PartsOf, Weighted, reasons
from recsys_spark.topn.scorers import Block, Scorer, keep_listed, nothing

EXTRAS = "interacted", "interacted_at", "known", "a", "b", "members"
_TIERS = POPULAR_IN_SEGMENT, POPULAR


class _Arranged(NamedTuple):
    """Items in the kernel's order: all that may be listed, and those of each reserved set."""

    items: Items
    reserved: list[Items]


class _Shelf(NamedTuple):
    """What some users may be listed. tiers: what fills lists, in the order of `_TIERS`."""

    arranged: _Arranged
    tiers: tuple[Popular, ...]


class _Lists(NamedTuple):
    """positions, scores: (users, n); -1 behind the end. ends: (1 + tiers, users) entries so far."""

    positions: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    ends: npt.NDArray[np.int64]

    def by_model(self) -> Ragged:
        """The entries that the model has listed."""
        inside = np.arange(self.positions.shape[1]) < self.ends[0][:, None]
        bounds = np.concatenate([[0], np.cumsum(self.ends[0])])
        return Ragged(bounds, self.positions[inside])

    def among_all(self, of_model: pa.Array) -> pa.Array:
        """Values of the model's entries as those of all entries, null where it has none."""
        inside = np.arange(self.positions.shape[1]) < self.ends[0][:, None]
        among = inside[self.positions >= 0]
        at = np.where(among, np.cumsum(among) - 1, 0)
        return of_model.take(pa.array(at, mask=~among))


class Lister:
    """A listing prepared once a task: padded factors, lookups, items by popularity."""

    def __init__(self, listing: Listing, tally: Tally | None) -> None:
        self.listing, self.tally = listing, tally
        self.catalog, self.rules = listing.catalog, listing.kept_rules
        self.arranged = self._arranged(np.ones(len(self.catalog.index), dtype=bool))

    def lists(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
        """Recommendation lists and sources of a batch of users."""
        made = _empty(batch.num_rows, self.listing.n)
        names = batch.column("source")
        if self.listing.scorers:
            block = read_block(batch, self.catalog.lookup, self.listing.ranks)
            names = self._serving(block)
        for segment, rows in self._by_segment(batch.column("segment")):
            shelf = self._shelf(segment)
            if self.listing.scorers:
                part = self._scored(block.where(rows), shelf)
            else:
                part = self._part(*self._known(batch, rows), shelf)
            made.positions[rows], made.scores[rows] = part.positions, part.scores
            made.ends[:, rows] = part.ends
        return self._as_lists(made, batch), _sources(names, made.ends)

    def _known(self, batch: pa.RecordBatch, rows: Mask) -> tuple[pa.ListArray, Ragged]:
        """Of some users, what they are ranked by, and what they have seen."""
        seen = self.catalog.inside(batch.column("seen"))
        return batch.column(basis_of(batch.schema.names)).filter(pa.array(rows)), seen.where(rows)

    def _serving(self, block: Block) -> pa.StringArray:
        """The name of the first scorer that knows each user; null: none does."""
        names = np.full(block.size, None, dtype=object)
        for name, scorer in reversed(self.listing.scorers):
            names[scorer.knows(block)] = name
        return pa.array(names, type=pa.string())

    def _scored(self, block: Block, shelf: _Shelf) -> _Lists:
        """The lists of users with one shelf, each by the first scorer that knows the user."""
        made = _empty(block.size, self.listing.n)
        served = np.zeros(block.size, dtype=bool)
        for _, scorer in self.listing.scorers:
            rows = scorer.knows(block) & ~served
            if rows.any():
                best = self._by_scorer(scorer, block.where(rows), shelf)
                made.positions[rows], made.scores[rows] = best
            served |= rows
        return self._filled(made, block.seen, shelf)

    def _by_scorer(
        self, scorer: Scorer, block: Block, shelf: _Shelf
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        found = _empty(block.size, self.listing.n)
        for rows in user_blocks(block.size, scorer.items):
            own = block.rows(rows)
            tile = scorer.score(own)
            leave_out(tile.values, shelf.arranged.items.place >= 0, own.seen)
            keep_listed(scorer, tile.values)
            ranked, gained = self._by_tile(tile, shelf)
            found.positions[rows], found.scores[rows] = ranked.positions, ranked.scores
            if self.tally:
                possible = own.size * len(shelf.arranged.items.position)
                self.tally.add(possible, ranked.computed, ranked.below, ranked.skipped, gained)
        return found.positions, found.scores

    def _by_tile(self, tile: Tile, shelf: _Shelf) -> tuple[Ranked, int]:
        """The lists, and how many of their items are there for a reserved place alone."""
        ranked, gained = rank_tile(tile, self.listing.n, self.rules), 0
        kept = np.zeros(ranked.positions.shape, dtype=bool)
        for reserved, items in zip(self.listing.reserved, shelf.arranged.reserved, strict=True):
            own = tile._replace(values=tile.values.copy())
            leave_out(own.values, items.place >= 0, no_entries(len(kept)))
            best = rank_tile(own, reserved.slots, self.rules)
            gained += reserve(
                ranked.positions, ranked.scores, kept, best, reserved.slots, self.rules
            )
        return ranked, gained

    def _by_segment(self, names: pa.StringArray) -> Iterator[tuple[Segment, Mask]]:
        """The segments of the users, and which users are in each."""
        encoded = names.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        others = np.ones(len(codes), dtype=bool)
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            if name in self.listing.segments:
                others &= codes != code
                yield self.listing.segments[name], codes == code
        if others.any():
            yield Segment(), others

    def _arranged(self, allowed: Mask) -> _Arranged:
        factors, scored = self.catalog.factors, self.catalog.scored
        reserved = [arrange(factors, allowed & own.items) for own in self.listing.reserved]
        return _Arranged(arrange(factors, allowed & scored), reserved)

    def _shelf(self, segment: Segment) -> _Shelf:
        tiers: tuple[Popular, ...] = (segment.popular or NOTHING, self.catalog.popular)
        if segment.allowed is None:
            return _Shelf(self.arranged, tiers)
        arranged = self._arranged(segment.allowed)
        return _Shelf(arranged, tuple(_only(tier, segment.allowed) for tier in tiers))

    def _part(self, basis: pa.ListArray, seen: Ragged, shelf: _Shelf) -> _Lists:
        """The lists of users with one shelf. basis: factors, or items ranked already."""
        made = _empty(len(basis), self.listing.n)
        known = basis.is_valid().to_numpy(zero_copy_only=False)
        best = self._best(basis.filter(pa.array(known)), seen.where(known), shelf.arranged)
        made.positions[known], made.scores[known] = best
        return self._filled(made, seen, shelf)

    def _filled(self, made: _Lists, seen: Ragged, shelf: _Shelf) -> _Lists:
        """The lists completed by what is popular, if that is wanted."""
        made.ends[:] = (made.positions >= 0).sum(axis=1)
        for at, popular in enumerate(shelf.tiers if self.listing.fill else (), start=1):
            fill_popular(made.positions, made.scores, popular, seen, self.rules)
            made.ends[at:] = (made.positions >= 0).sum(axis=1)
        return made

    def _best(
        self, basis: pa.ListArray, seen: Ragged, arranged: _Arranged
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Positions and scores by the model, of those who have factors or ranked items."""
        if pa.types.is_struct(basis.type.value_type):
            return self._merged(basis)
        if self.listing.opinion:
            return self._agreed(basis, seen, arranged, self.listing.opinion)
        return self._ranked(basis, seen, arranged)

    def _ranked(
        self, factors: pa.ListArray, seen: Ragged, arranged: _Arranged
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Those of single users, reserved slots included."""
        vectors = list_matrix(factors, self.catalog.factors.shape[1])
        found = rank(vectors, arranged.items, seen, self.listing.n, self.rules)
        kept, gained, computed = np.zeros(found.positions.shape, dtype=bool), 0, found.computed
        plain = self.rules._replace(diversity=0.0)
        for reserved, items in zip(self.listing.reserved, arranged.reserved, strict=True):
            best = rank(vectors, items, seen, reserved.slots, plain)
            computed += best.computed
            gained += reserve(found.positions, found.scores, kept, best, reserved.slots, self.rules)
        if self.tally:
            possible = len(vectors) * len(arranged.items.position)
            self.tally.add(possible, computed, found.below, found.skipped, gained)
        return found.positions, found.scores

    def _agreed(
        self, factors: pa.ListArray, seen: Ragged, arranged: _Arranged, opinion: Opinion
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Those of groups, by the opinions of their members."""
        made = _empty(len(factors), self.listing.n)
        bounds, values = list_parts(factors, np.float32)
        for group in range(len(factors)):
            members = values[bounds[group] : bounds[group + 1]]
            members = members.reshape(-1, self.catalog.factors.shape[1])
            scores = group_scores(members, self.catalog.factors, opinion)
            candidates = arranged.items.place >= 0
            candidates[seen.positions[seen.indptr[group] : seen.indptr[group + 1]]] = False
            found = rank_scores(scores, candidates, self.listing.n, self.rules)
            made.positions[group], made.scores[group] = found.positions[0], found.scores[0]
        return made.positions, made.scores

    def _merged(
        self, ranked: pa.ListArray
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The best of what tiles have ranked, by their positions in the catalog."""
        bounds, entries = list_bounds(ranked), ranked.flatten()
        positions, scores = entries.field("item_id").to_numpy(), entries.field("score").to_numpy()
        lengths = np.diff(bounds)
        rows = np.repeat(np.arange(len(ranked)), lengths)
        order = np.lexsort((positions, -scores, rows))
        inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
        pool = np.full(inside.shape, -1, dtype=np.int32)
        pool_scores = np.zeros(inside.shape, dtype=np.float32)
        pool[inside], pool_scores[inside] = positions[order], scores[order]
        found = rank_pools(pool, pool_scores, self.listing.n, self.rules)
        if self.tally:
            self.tally.below.add(found.below)
        return found.positions, found.scores

    def _as_lists(self, made: _Lists, batch: pa.RecordBatch) -> pa.Array:
        mask = made.positions >= 0
        ranks = np.broadcast_to(np.arange(1, self.listing.n + 1, dtype=np.int32), mask.shape)
        lists = Ragged(np.concatenate([[0], np.cumsum(made.ends[-1])]), made.positions[mask])
        columns = {
            "item_id": self.catalog.labels.take(pa.array(lists.positions)),
            "score": pa.array(made.scores[mask]),
            "rank": pa.array(ranks[mask]),
        }
        if "interacted" in batch.schema.names:
            columns["last_interaction"] = self._last_seen(lists, batch)
        if self.listing.reasons:
            columns["because"] = self._because(made, batch)
        if "members" in batch.schema.names:
            columns["member_scores"] = self._member_scores(made, batch)
        entries = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
        return list_array(lists.indptr, entries)

    def _last_seen(self, lists: Ragged, batch: pa.RecordBatch) -> pa.Array:
        """When the users last interacted with the entries; null: never."""
        interacted, width = self._ragged(batch.column("interacted")), len(self.catalog.index) + 1
        at = Lookup(_pairs(interacted, width)).positions(_pairs(lists, width))
        times = batch.column("interacted_at").flatten()
        return times.take(pa.array(at, mask=at < 0))

    def _because(self, made: _Lists, batch: pa.RecordBatch) -> pa.Array:
        """The reasons of the model's entries; null where it has none."""
        found = reasons(self._parts(batch), made.by_model(), self.listing.reasons)
        items = self.catalog.labels.take(pa.array(found.items))
        named = pa.StructArray.from_arrays([items, pa.array(found.parts)], ["item_id", "score"])
        return made.among_all(list_array(found.indptr, named))

    def _member_scores(self, made: _Lists, batch: pa.RecordBatch) -> pa.Array:
        """What the model's entries of groups score for each member with factors."""
        own, ids = made.by_model(), batch.column("members")
        bounds, rank = list_bounds(ids), self.catalog.factors.shape[1]
        members = list_parts(batch.column("factors"), np.float32)[1].reshape(-1, rank)
        scores, users = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        for group, listed in enumerate(np.split(own.positions, own.indptr[1:-1])):
            theirs = slice(bounds[group], bounds[group + 1])
            found = member_scores(members[theirs], self.catalog.factors, listed)
            scores.append(found.ravel())
            users.append(np.tile(np.arange(theirs.start, theirs.stop), len(listed)))
        lengths = np.repeat(np.diff(bounds), np.diff(own.indptr))
        named = pa.StructArray.from_arrays(
            [ids.flatten().take(pa.array(np.concatenate(users))), pa.array(np.concatenate(scores))],
            ["user_id", "score"],
        )
        return made.among_all(list_array(np.concatenate([[0], np.cumsum(lengths)]), named))

    def _parts(self, batch: pa.RecordBatch) -> PartsOf:
        """What a user's items add to the scores of listed ones, by what has ranked them."""
        known = self._weighted(batch) if "known" in batch.schema.names else None
        if not self.listing.scorers:
            assert self.listing.explainer is not None
            assert known is not None
            return partial(self.listing.explainer.of_user, known)
        block = read_block(batch, self.catalog.lookup, self.listing.ranks)._replace(known=known)
        serving = self._serving(block).to_pylist()
        scorers = dict(self.listing.scorers)

        def parts(user: int, listed: Positions) -> Parts:
            own = scorers.get(serving[user])
            return own.parts(block, user, listed) if own else nothing(listed)

        return parts

    def _weighted(self, batch: pa.RecordBatch) -> Weighted:
        known = self._ragged(batch.column("known"))
        inside = known.positions >= 0
        a, b = (list_parts(batch.column(name), np.float32)[1][inside] for name in ("a", "b"))
        return Weighted(known.without(-1), a, b)

    def _ragged(self, lists: pa.ListArray) -> Ragged:
        """Lists of internal ids as positions, -1 for those outside the catalog."""
        indptr, ids = list_parts(lists, np.int64)
        return Ragged(indptr, self.catalog.lookup.positions(ids))


def basis_of(columns: Sequence[str]) -> str:
    """By what rows with these columns are ranked."""
    return "ranked" if "ranked" in columns else "factors"


def _pairs(rows: Ragged, width: int) -> npt.NDArray[np.int64]:
    """A number for each row and position of it, which is below `width` and may be -1."""
    row = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    return row * width + rows.positions + 1


def _empty(users: int, n: int) -> _Lists:
    return _Lists(
        np.full((users, n), -1, dtype=np.int32),
        np.zeros((users, n), dtype=np.float32),
        np.zeros((1 + len(_TIERS), users), dtype=np.int64),
    )


def _only(popular: Popular, allowed: Mask) -> Popular:
    inside = allowed[popular.positions]
    return Popular(popular.positions[inside], popular.shares[inside])


def _sources(names: pa.Array, ends: npt.NDArray[np.int64]) -> pa.Array:
    """Sources of each list in order, joined by +; popular where no scorer listed anything."""
    by_model, in_segment, overall = np.diff(ends, axis=0, prepend=0) > 0
    tiers = pa.array([POPULAR, POPULAR_IN_SEGMENT, POPULAR, "+".join(_TIERS)])
    filled = tiers.take(pa.array(in_segment + 2 * overall))
    both = pc.binary_join_element_wise(names, filled, "+")
    return pc.if_else(by_model, pc.if_else(in_segment | overall, both, names), filled)
