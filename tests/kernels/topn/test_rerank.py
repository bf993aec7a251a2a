"""Lists that keep rules, and their completion, against plain Python."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn.inner_product import arrange
from recsys_spark.kernels.topn.rerank import (
    ListRules,
    Popular,
    Ranked,
    fill_popular,
    no_rules,
    rank,
    reserve,
)
from tests.kernels.ragged import ragged as offsets


def ragged(lists):
    return offsets(lists, np.int32)


def plain(scores, seen, n, groups, most, least):
    """Greedy, from the best downwards; scores by position, ties to the smaller one."""
    listed, held, below, skipped = [], {}, 0, 0
    for item in sorted(range(len(scores)), key=lambda item: (-scores[item], item)):
        if len(listed) == n or item in seen:
            continue
        if scores[item] < least:
            below = n - len(listed)
            break
        if any(held.get(group, 0) >= most for group in groups[item]):
            skipped += 1
            continue
        listed.append(item)
        for group in groups[item]:
            held[group] = held.get(group, 0) + 1
    return listed, below, skipped


@st.composite
def shops(draw):
    """Whole-numbered factors, so that scores are exact and ties many; groups of items."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_items, rank_ = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    groups = [rng.permutation(4)[: rng.integers(0, 3)].tolist() for _ in range(n_items)]
    if draw(st.booleans()):
        groups = [[0]] * n_items
    seen = [np.flatnonzero(rng.random(n_items) < 0.3).tolist() for _ in range(3)]
    users = rng.integers(-2, 3, size=(3, rank_)).astype(np.float32)
    items = rng.integers(-2, 3, size=(n_items, rank_)).astype(np.float32)
    least = draw(st.sampled_from([-np.inf, -1.0, 1.0, 9.0]))
    return users, items, seen, groups, draw(st.integers(1, 4)), least, draw(st.integers(1, 12))


@settings(deadline=None, max_examples=200)
@given(shops())
def test_rules_are_kept_from_the_best_downwards(shop):
    users, items, seen, groups, most, least, n = shop
    rules = ListRules(Ragged(*ragged(groups)), most, least)
    arranged = arrange(items, np.ones(len(items), dtype=bool))
    found = rank(users, arranged, Ragged(*ragged(seen)), n, rules)
    below, skipped = 0, 0
    for user, listed in enumerate(found.positions.tolist()):
        scores = (items @ users[user]).tolist()
        expected, free, over = plain(scores, set(seen[user]), n, groups, most, least)
        assert listed == expected + [-1] * (n - len(expected))
        assert found.scores[user, : len(expected)].tolist() == [scores[at] for at in expected]
        below, skipped = below + free, skipped + over
    assert (found.below, found.skipped) == (below, skipped)


def test_a_group_that_fills_the_first_pools_does_not_shorten_a_list():
    """A thousand of one genre stand before the others: the pool grows until they are found."""
    scores = np.arange(1000, 0, -1, dtype=np.float32)[:, None]
    groups = [[0]] * 990 + [[1]] * 10
    rules = ListRules(Ragged(*ragged(groups)), 2, -np.inf)
    arranged = arrange(scores, np.ones(1000, dtype=bool))
    nothing = Ragged(*ragged([[]]))
    found = rank(np.ones((1, 1), np.float32), arranged, nothing, 4, rules)
    assert found.positions.tolist() == [[0, 1, 990, 991]]
    assert found.skipped == 988


def test_filling_keeps_the_rules_too():
    positions = np.array([[0, -1, -1, -1]], dtype=np.int32)
    rules = ListRules(Ragged(*ragged([[0], [0], [0], [1], []])), 2, -np.inf)
    scores = np.array([[7, 0, 0, 0]], dtype=np.float32)
    popular = popularity([0, 1, 2, 3, 4])
    fill_popular(positions, scores, popular, Ragged(*ragged([[]])), rules)
    assert positions.tolist() == [[0, 1, 3, 4]]
    assert scores.tolist() == [[7, *popular.shares[[1, 3, 4]].tolist()]]


def popularity(positions):
    shares = np.linspace(1, 0.1, len(positions))
    return Popular(np.array(positions, dtype=np.int32), shares.astype(np.float32))


def filled(positions, by_popularity, seen, items):
    positions = np.array(positions, dtype=np.int32)
    indptr, flat = ragged(seen)
    popular, scores = popularity(by_popularity), np.zeros(positions.shape, np.float32)
    fill_popular(positions, scores, popular, Ragged(indptr, flat), no_rules(items))
    return positions.tolist()


def test_fill_takes_the_most_popular_neither_seen_nor_listed():
    assert filled([[4, -1, -1]], [4, 0, 3, 1, 2], [[0]], 5) == [[4, 3, 1]]


def test_fill_leaves_full_lists_alone_and_empty_slots_without_items_left():
    assert filled([[2, 1], [-1, -1]], [0, 1], [[], [0]], 3) == [[2, 1], [1, -1]]


def test_fill_of_one_user_does_not_affect_the_next():
    assert filled([[-1], [-1], [-1]], [1, 0], [[], [1], []], 2) == [[1], [0], [1]]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_fill_equals_plain_lists(data):
    items = data.draw(st.integers(1, 8))
    some = st.lists(st.integers(0, items - 1), unique=True)
    n = data.draw(st.integers(1, 6))
    popular = data.draw(some)
    seen = data.draw(st.lists(some, min_size=1, max_size=4))
    listed = [[item for item in data.draw(some) if item not in s][:n] for s in seen]
    expected = [
        (row + [item for item in popular if item not in s and item not in row])[:n]
        for row, s in zip(listed, seen, strict=True)
    ]
    found = filled([row + [-1] * (n - len(row)) for row in listed], popular, seen, items)
    assert found == [row + [-1] * (n - len(row)) for row in expected]


def worth(items, scores, pool, listed, item, diversity):
    """The formula, for an item that could follow those that are listed."""
    norms = np.linalg.norm(items, axis=1)
    span = scores[pool[0]] - scores[pool[-1]]
    relevance = 1 - (scores[pool[0]] - scores[item]) / span if span else 1.0
    likeness = [items[item] @ items[other] / (norms[item] * norms[other]) for other in listed]
    return (1 - diversity) * relevance - diversity * max(likeness, default=0)


def is_greedy(items, scores, pool, listed, n, diversity, groups, most):
    """Whether every item was worth most when it was listed, and the list ends when it must."""
    held = Counter()
    for at in range(n):
        room = [
            item
            for item in pool
            if item not in listed[:at] and all(held[group] < most for group in groups[item])
        ]
        if not room or at == len(listed):
            return not room and at == len(listed)
        values = [worth(items, scores, pool, listed[:at], item, diversity) for item in room]
        if listed[at] not in room or values[room.index(listed[at])] < max(values) - 1e-5:
            return False
        held.update(groups[listed[at]])
    return True


@settings(deadline=None, max_examples=100)
@given(shops(), st.sampled_from([0.2, 0.5, 0.9]))
def test_diversity_takes_the_best_trade_off_at_every_step(shop, diversity):
    """Of the 4 n best that keep the least score; of four times as many where those are too few."""
    users, items, seen, groups, most, least, n = shop
    items = items + np.random.default_rng(len(items)).random(items.shape).astype(np.float32)
    rules = ListRules(Ragged(*ragged(groups)), most, least, diversity)
    arranged = arrange(items, np.ones(len(items), dtype=bool))
    found = rank(users, arranged, Ragged(*ragged(seen)), n, rules)
    exact = items.astype(np.float64)
    for user, positions in enumerate(found.positions.tolist()):
        scores = exact @ users[user]
        order = sorted(range(len(items)), key=lambda at: (-np.float32(scores[at]), at))
        order = [item for item in order if item not in seen[user]]
        listed = [item for item in positions if item >= 0]
        pools = [
            [item for item in order[:size] if np.float32(scores[item]) >= least]
            for size in (4 * n, 16 * n, 64 * n)
        ]
        follows = [
            is_greedy(exact, scores, pool, listed, n, diversity, groups, most) for pool in pools
        ]
        assert any(follows)
        if not any(groups):
            assert follows[0]


def test_diversity_puts_similar_items_later():
    items = np.array([[1.0, 0.0], [0.99, 0.01], [0.2, 0.7]], dtype=np.float32)
    arranged, users = arrange(items, np.ones(3, dtype=bool)), np.array([[1, 0.3]], np.float32)
    nothing = Ragged(*ragged([[]]))
    plain_list, varied_list = (
        rank(
            users, arranged, nothing, 3, no_rules(3)._replace(diversity=diversity)
        ).positions.tolist()
        for diversity in (0.0, 0.6)
    )
    assert plain_list == [[0, 1, 2]]
    assert varied_list == [[0, 2, 1]]


def reserved(listed, candidates, places, n, groups=None, most=1, kept=()):
    """The list and its scores; a candidate's score is its number, another item's 100 + it."""
    items = 20
    positions = np.array([listed + [-1] * (n - len(listed))], dtype=np.int32)
    scores = (positions + 100).astype(np.float32)
    best = np.array([candidates], dtype=np.int32)
    ranked = Ranked(best, best.astype(np.float32), 0, 0, 0)
    rules = ListRules(Ragged(*ragged(groups or [[]] * items)), most, -np.inf)
    marks = np.isin(positions, kept)
    gained = reserve(positions, scores, marks, ranked, places, rules)
    own = positions[0][positions[0] >= 0].tolist()
    assert len(set(own)) == len(own)
    fresh = {item for item in candidates if item not in listed}
    assert scores[0, : len(own)].tolist() == [x if x in fresh else x + 100 for x in own]
    assert gained == len(fresh & set(own))
    return own


def test_reserved_slots_replace_the_last_items():
    assert reserved([0, 1, 2, 3], [7, 8], 2, n=4) == [0, 1, 7, 8]


def test_reserved_slots_count_items_listed_already():
    assert reserved([0, 1, 2, 7], [7, 8], 2, n=4) == [0, 1, 7, 8]
    assert reserved([7, 8, 2, 3], [7, 8], 2, n=4) == [7, 8, 2, 3]


def test_a_list_that_is_not_full_gains_without_a_loss():
    assert reserved([0, 1], [7, 8], 2, n=4) == [0, 1, 7, 8]
    assert reserved([], [7, -1], 2, n=4) == [7]


def test_reserved_slots_of_other_kinds_stay():
    assert reserved([0, 1, 2, 3], [7], 1, n=4, kept=[3]) == [0, 1, 3, 7]
    assert reserved([0, 1], [7], 1, n=2, kept=[0, 1]) == [0, 1]


def test_reserved_slots_keep_the_rules():
    groups = [[item % 2] for item in range(20)]
    assert reserved([0, 1], [2, 3], 1, n=3, groups=groups, most=1) == [0, 1]
    assert reserved([0, 1], [2, 3], 1, n=2, groups=groups, most=1) == [0, 3]
    assert reserved([0, 1], [2, 4], 1, n=2, groups=groups, most=1) == [0, 1]


def test_reserved_slots_of_one_user_do_not_affect_the_next():
    positions = np.array([[0, 1], [1, 2]], dtype=np.int32)
    scores, kept = np.ones((2, 2), np.float32), np.zeros((2, 2), dtype=bool)
    best = np.array([[5], [6]], dtype=np.int32)
    rules = ListRules(Ragged(*ragged([[0]] * 7)), 2, -np.inf)
    ranked = Ranked(best, np.zeros((2, 1), np.float32), 0, 0, 0)
    assert reserve(positions, scores, kept, ranked, 1, rules) == 2
    assert positions.tolist() == [[0, 5], [1, 6]]
