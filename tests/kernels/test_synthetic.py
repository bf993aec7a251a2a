"""Invented interactions: one user alone has the same rows as among others."""

import numpy as np
import pytest

from recsys_spark.kernels import synthetic
from recsys_spark.kernels.synthetic import Population, Sample


def _population(**changes: float) -> Population:
    content = {
        "users": 300,
        "items": 200,
        "interactions": 6000,
        "rank": 5,
        "noise": 0.3,
        "user_skew": 0.8,
        "item_skew": 0.9,
        "explicit": True,
        "seed": 7,
    }
    return Population(**{**content, **changes})


def _sample(population: Population, *groups: np.ndarray) -> Sample:
    catalog = synthetic.catalog(population)
    scale = synthetic.activity_scale(population)
    parts = [part for ids in groups for part in synthetic.sample(population, catalog, scale, ids)]
    names = ("user", "item", "value", "timestamp")
    return Sample(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _assert_equal(left: Sample, right: Sample) -> None:
    for name in ("user", "item", "value", "timestamp"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000])
def test_permute_is_a_permutation(size: int) -> None:
    images = synthetic.permute(1, 2, np.arange(size), size)
    assert sorted(images.tolist()) == list(range(size))


def test_permute_has_no_visible_order() -> None:
    images = synthetic.permute(1, 2, np.arange(10_000), 10_000)
    assert abs(np.corrcoef(images[1:], images[:-1])[0, 1]) < 0.05
    assert abs(np.corrcoef(images, np.arange(10_000))[0, 1]) < 0.05


@pytest.mark.parametrize("rank", [1, 5, 8])
@pytest.mark.parametrize("explicit", [True, False])
def test_users_in_groups_and_together_have_the_same_rows(rank: int, explicit: bool) -> None:
    population = _population(rank=rank, explicit=explicit)
    together = _sample(population, np.arange(300))
    _assert_equal(together, _sample(population, *np.split(np.arange(300), [1, 2, 3, 40, 47, 299])))


def test_slices_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    population = _population()
    whole = _sample(population, np.arange(300))
    monkeypatch.setattr(synthetic, "_SLICE", 500)
    monkeypatch.setattr(synthetic, "_SLICE_USERS", 5)
    catalog = synthetic.catalog(population)
    scale = synthetic.activity_scale(population)
    assert len(list(synthetic.sample(population, catalog, scale, np.arange(300)))) > 20
    _assert_equal(whole, _sample(population, np.arange(300)))


def test_another_seed_gives_other_rows() -> None:
    one, two = (_sample(_population(seed=seed), np.arange(300)) for seed in (1, 2))
    pairs = [set(zip(s.user.tolist(), s.item.tolist(), strict=True)) for s in (one, two)]
    assert len(pairs[0] & pairs[1]) < 0.6 * len(pairs[0])


@pytest.mark.parametrize("user_skew", [0.0, 0.8, 1.5])
@pytest.mark.parametrize("item_skew", [0.0, 0.9, 2.0, 6.0])
@pytest.mark.parametrize("interactions", [600, 6000, 20_000])
def test_rows_are_distinct_and_about_as_many_as_asked(
    user_skew: float, item_skew: float, interactions: int
) -> None:
    population = _population(user_skew=user_skew, item_skew=item_skew, interactions=interactions)
    rows = _sample(population, np.arange(300))
    assert len(rows.user) == pytest.approx(interactions, rel=0.05)
    assert len(np.unique(rows.user * 200 + rows.item)) == len(rows.user)
    assert len(np.unique(rows.user)) == 300
    assert rows.item.min() >= 0
    assert rows.item.max() < 200


def test_activity_scale_is_exact_for_large_populations() -> None:
    population = _population(users=1_000_000, items=50_000, interactions=100_000_000)
    ids = np.arange(1_000_000)
    quota = synthetic.quotas(population, synthetic.activity_scale(population), ids)
    assert quota.sum() == pytest.approx(100_000_000, rel=1e-3)
    assert quota.min() >= 1
    assert quota.max() <= synthetic.quota_cap(population)


@pytest.mark.parametrize(
    ("interactions", "expected"), [(1, 300), (60_000, 60_000), (10**9, 60_000)]
)
def test_impossible_totals_are_cut(interactions: int, expected: int) -> None:
    rows = _sample(_population(interactions=interactions), np.arange(300))
    assert len(rows.user) == expected


def test_rows_are_by_user_and_time() -> None:
    rows = _sample(_population(), np.arange(300))
    assert (np.diff(rows.user) >= 0).all()
    assert (np.diff(rows.timestamp)[np.diff(rows.user) == 0] >= 0).all()


def test_popularity_follows_the_power_law() -> None:
    population = _population(users=4000, items=500, interactions=40_000)
    items = synthetic.catalog(population)
    rows = _sample(population, np.arange(4000))
    counts = np.bincount(rows.item, minlength=500)[items.item_of_rank]
    assert counts[:5].sum() > 10 * counts[-5:].sum()
    assert np.corrcoef(counts, items.popularity)[0, 1] > 0.8


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.8])
def test_broken_copies_are_the_share_asked_for(fraction: float) -> None:
    users = np.repeat(np.arange(200), np.arange(200) % 17 + 1)
    row, kind = synthetic.broken_copies(3, users, fraction, 5)
    assert (kind >= 0).mean() == pytest.approx(fraction, rel=0.15)
    np.testing.assert_array_equal(row[kind < 0], np.arange(len(users)))
    assert set(kind.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert (np.diff(row) >= 0).all()


def test_broken_copies_of_a_user_do_not_depend_on_others() -> None:
    users = np.repeat(np.arange(50), 10)
    row, kind = synthetic.broken_copies(3, users, 0.3, 5)
    one_row, one_kind = synthetic.broken_copies(3, users[70:80], 0.3, 5)
    mine = (row >= 70) & (row < 80)
    np.testing.assert_array_equal(row[mine] - 70, one_row)
    np.testing.assert_array_equal(kind[mine], one_kind)
