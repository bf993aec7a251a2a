"""Exact top-N against sorting, its ties, and its independence of how users are batched."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_spark.kernels.topn import inner_product
from recsys_spark.kernels.topn.inner_product import arrange, top_n
from tests.reference import topn as plain


def ragged(lists):
    """Offsets and the lists in one array."""
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in lists])]).astype(np.int64)
    flat = [entry for part in lists for entry in part]
    return indptr, np.array(flat, dtype=np.int32)


def recommend(users, items, n, candidates=None, seen=None):
    """Lists of (position, score) pairs, the -1 entries cut off."""
    candidates = np.ones(len(items), bool) if candidates is None else np.array(candidates, bool)
    indptr, flat = ragged(seen if seen is not None else [[]] * len(users))
    found, scores, computed = top_n(users, arrange(items, candidates), indptr, flat, n)
    assert 0 <= computed <= len(users) * (len(items) + 31)
    assert found.shape == scores.shape == (len(users), n)
    lists = []
    for row, values in zip(found.tolist(), scores.tolist(), strict=True):
        length = n - row.count(-1)
        assert row[length:] == [-1] * (n - length)
        lists.append(list(zip(row[:length], values[:length], strict=True)))
    return lists


def vectors(values):
    return np.array(values, dtype=np.float32)


@st.composite
def problems(draw):
    """Users, items, n, candidates, seen; whole numbers give exact scores and many ties."""
    rank, n_users, n_items = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 40)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    users = rng.integers(-2, 3, size=(n_users, rank)).astype(np.float32)
    items = rng.integers(-2, 3, size=(n_items, rank)).astype(np.float32)
    candidates = rng.random(n_items) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    seen = [np.flatnonzero(rng.random(n_items) < share).tolist() for _ in range(n_users)]
    return users, items, draw(st.integers(1, 50)), candidates, seen


@settings(deadline=None, max_examples=150)
@given(problems())
def test_lists_equal_sorting_with_ties_to_the_smaller_position(problem):
    users, items, n, candidates, seen = problem
    lists = recommend(users, items, n, candidates, seen)
    for u, listed in enumerate(lists):
        assert listed == plain.top_n((items @ users[u]).tolist(), candidates, set(seen[u]), n)


def test_many_equal_items_are_listed_by_position():
    items = np.ones((5000, 4), dtype=np.float32)
    assert recommend(np.ones((1, 4), np.float32), items, 10)[0] == [(i, 4.0) for i in range(10)]


def test_equal_items_with_inexact_scores_are_listed_by_position():
    rng = np.random.default_rng(0)
    items = np.repeat(rng.normal(size=(1, 37)), 1000, axis=0).astype(np.float32)
    for listed in recommend(rng.normal(size=(100, 37)).astype(np.float32), items, 10):
        assert [position for position, _ in listed] == list(range(10))


def test_scores_are_double_precision_products_rounded_once():
    rng = np.random.default_rng(1)
    users = rng.normal(size=(70, 48)).astype(np.float32)
    items = rng.normal(size=(900, 48)).astype(np.float32)
    exact = (users.astype(float) @ items.astype(float).T).astype(np.float32)
    everyone = np.ones(len(items), bool)
    for u, listed in enumerate(recommend(users, items, 20)):
        expected = plain.top_n(exact[u].tolist(), everyone, set(), 20)
        assert [position for position, _ in listed] == [position for position, _ in expected]
        np.testing.assert_allclose([s for _, s in listed], [s for _, s in expected], rtol=2e-7)


def test_negative_scores_are_listed_and_padding_is_not():
    assert recommend(vectors([[1.0]]), vectors([[-3.0], [-1.0]]), 5) == [[(1, -1.0), (0, -3.0)]]


def test_everything_seen_or_no_candidates_gives_an_empty_list():
    items = vectors([[1.0], [2.0]])
    assert recommend(vectors([[1.0]]), items, 3, seen=[[0, 1]]) == [[]]
    assert recommend(vectors([[1.0]]), items, 3, candidates=[False, False]) == [[]]


def test_seen_items_are_left_out_for_their_user_only():
    lists = recommend(vectors([[1.0], [1.0]]), vectors([[1.0], [2.0]]), 2, seen=[[1], []])
    assert lists == [[(0, 1.0)], [(1, 2.0), (0, 1.0)]]


def test_top_n_of_no_users_and_no_items():
    assert recommend(np.empty((0, 2), np.float32), np.ones((3, 2), np.float32), 2) == []
    assert recommend(np.ones((1, 2), np.float32), np.empty((0, 2), np.float32), 2) == [[]]


def random_problem(seed, n_users=200, n_items=330, rank=48):
    """Real-valued factors; a third of the items are copies, so that ties need a rule."""
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(n_users, rank)).astype(np.float32)
    items = rng.normal(size=(n_items, rank)).astype(np.float32)
    items[::3] = items[0]
    seen = [rng.permutation(n_items)[: rng.integers(0, 20)].tolist() for _ in range(n_users)]
    return users, items, seen


def assert_independent_of_batches(rank=48):
    users, items, seen = random_problem(2, rank=rank)
    whole = recommend(users, items, 15, seen=seen)
    for size in (1, 7, 64, 100):
        parts = range(0, len(users), size)
        chunks = [recommend(users[i : i + size], items, 15, seen=seen[i : i + size]) for i in parts]
        assert [row for chunk in chunks for row in chunk] == whole


@pytest.mark.parametrize("rank", [8, 48, 130])
def test_lists_are_bit_equal_however_users_are_batched(rank):
    assert_independent_of_batches(rank)


@pytest.mark.parametrize("core", ["Haswell", "SkylakeX"])
def test_lists_are_bit_equal_on_other_processors(process_environment, core):
    """OpenBLAS rounds by a row's place in the matrix on some processors; both kinds are tried."""
    here = Path(__file__)
    code = "from test_inner_product import assert_independent_of_batches as check; check(48)"
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    environment = {**process_environment, "OPENBLAS_CORETYPE": core, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_lists_are_bit_equal_however_small_the_tiles(monkeypatch):
    users, items, seen = random_problem(3)
    whole = recommend(users, items, 15, seen=seen)
    monkeypatch.setattr(inner_product, "_USERS", 3)
    monkeypatch.setattr(inner_product, "_ITEMS", 32)
    assert recommend(users, items, 15, seen=seen) == whole
