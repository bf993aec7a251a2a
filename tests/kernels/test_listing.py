"""Lists that keep rules, and their completion, against plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ragged import ragged as offsets

from recsys_spark.kernels.listing import Rules, fill_popular, no_rules, rank
from recsys_spark.kernels.ragged import Ragged
from recsys_spark.kernels.topn import arrange


def ragged(lists):
    return offsets(lists, np.int32)


def plain(scores, seen, n, groups, most, least):
    """Greedy, from the best downwards; scores by position, ties to the smaller one."""
    listed, held, below, passed = [], {}, 0, 0
    for item in sorted(range(len(scores)), key=lambda item: (-scores[item], item)):
        if len(listed) == n or item in seen:
            continue
        if scores[item] < least:
            below = n - len(listed)
            break
        if any(held.get(group, 0) >= most for group in groups[item]):
            passed += 1
            continue
        listed.append(item)
        for group in groups[item]:
            held[group] = held.get(group, 0) + 1
    return listed, below, passed


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
    rules = Rules(Ragged(*ragged(groups)), most, least)
    arranged = arrange(items, np.ones(len(items), dtype=bool))
    found = rank(users, arranged, Ragged(*ragged(seen)), n, rules)
    below, passed = 0, 0
    for user, listed in enumerate(found.positions.tolist()):
        scores = (items @ users[user]).tolist()
        expected, free, over = plain(scores, set(seen[user]), n, groups, most, least)
        assert listed == expected + [-1] * (n - len(expected))
        assert found.scores[user, : len(expected)].tolist() == [scores[at] for at in expected]
        below, passed = below + free, passed + over
    assert (found.below, found.passed) == (below, passed)


def test_a_group_that_fills_the_first_pools_does_not_shorten_a_list():
    """A thousand of one genre stand before the others: the pool grows until they are found."""
    scores = np.arange(1000, 0, -1, dtype=np.float32)[:, None]
    groups = [[0]] * 990 + [[1]] * 10
    rules = Rules(Ragged(*ragged(groups)), 2, -np.inf)
    arranged = arrange(scores, np.ones(1000, dtype=bool))
    nothing = Ragged(*ragged([[]]))
    found = rank(np.ones((1, 1), np.float32), arranged, nothing, 4, rules)
    assert found.positions.tolist() == [[0, 1, 990, 991]]
    assert found.passed == 988


def test_filling_keeps_the_rules_too():
    positions = np.array([[0, -1, -1, -1]], dtype=np.int32)
    rules = Rules(Ragged(*ragged([[0], [0], [0], [1], []])), 2, -np.inf)
    popular = np.array([0, 1, 2, 3, 4], dtype=np.int32)
    fill_popular(positions, popular, Ragged(*ragged([[]])), rules)
    assert positions.tolist() == [[0, 1, 3, 4]]


def filled(positions, by_popularity, seen, items):
    positions = np.array(positions, dtype=np.int32)
    indptr, flat = ragged(seen)
    popular = np.array(by_popularity, dtype=np.int32)
    fill_popular(positions, popular, Ragged(indptr, flat), no_rules(items))
    return positions.tolist()


def test_fill_takes_the_most_popular_neither_seen_nor_listed():
    assert filled([[4, -1, -1]], [4, 0, 3, 1, 2], [[0]], 5) == [[4, 3, 1]]


def test_fill_leaves_full_lists_alone_and_empty_places_where_nothing_is_left():
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
