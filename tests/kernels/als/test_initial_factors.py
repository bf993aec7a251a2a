"""Random numbers and initial factors: functions of (seed, stream, id), with the right moments."""

import numpy as np
import pytest

from recsys_spark.kernels.als.initial_factors import initial_factors
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.kernels.random import normal, uniform

IDS = np.arange(20_000)


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_draw_depends_on_the_id_alone(draw, count):
    ids = np.array([7, 0, 123_456_789_012, 3])
    together = draw(42, 0, ids, count)
    assert together.shape == (4, count)
    np.testing.assert_array_equal(draw(42, 0, ids[::-1], count), together[::-1])
    np.testing.assert_array_equal(
        [draw(42, 0, ids[i : i + 1], count)[0] for i in range(4)], together
    )


def test_known_values_keep_old_models_reproducible():
    drawn = uniform(42, 1, np.array([0, 10]), 2)
    np.testing.assert_array_equal(
        drawn, [[0.6382711262409202, 0.9930606802546902], [0.25504745777798093, 0.3839829582892103]]
    )


@pytest.mark.parametrize("draw", [uniform, normal])
def test_seeds_streams_ids_and_positions_give_unrelated_numbers(draw):
    base = draw(42, 0, IDS, 2)
    others = {
        "seed": draw(43, 0, IDS, 2)[:, 0],
        "stream": draw(42, 1, IDS, 2)[:, 0],
        "next id": draw(42, 0, IDS + 1, 2)[:, 0],
        "position": base[:, 1],
    }
    for name, other in others.items():
        assert abs(np.corrcoef(base[:, 0], other)[0, 1]) < 0.03, name


def test_initial_factors_are_distinct_numbers():
    drawn = [uniform(seed, stream, IDS, 3) for seed in (0, 1) for stream in (0, 1)]
    assert len(np.unique(drawn)) == 4 * 3 * len(IDS)


def test_negative_and_huge_seeds_are_accepted():
    assert (uniform(-1, 0, IDS[:5], 2) != uniform(1, 0, IDS[:5], 2)).all()
    assert np.isfinite(normal(2**70, 0, IDS[:5], 2)).all()


def test_uniform_moments():
    drawn = uniform(42, 0, IDS, 8)
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(1 / 2, abs=0.004)
    assert drawn.var() == pytest.approx(1 / 12, abs=0.001)
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert np.abs(counts / drawn.size * 20 - 1).max() < 0.06


def test_normal_moments():
    drawn = normal(42, 0, IDS, 7)
    assert drawn.mean() == pytest.approx(0, abs=0.012)
    assert drawn.var() == pytest.approx(1, abs=0.02)
    assert (drawn**3).mean() == pytest.approx(0, abs=0.05)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.15)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(7)).max() < 0.03


def test_normal_start_has_the_scale_over_the_root_of_the_rank():
    factors = initial_factors(IDS, resolve_spec("ials", rank=16, init_scale=0.2), 0)
    assert factors.dtype == np.float32
    assert factors.shape == (len(IDS), 16)
    assert factors.std() == pytest.approx(0.2 / 4, rel=0.01)
    assert factors.mean() == pytest.approx(0, abs=0.001)


def test_unit_norm_start_has_length_one_in_all_directions():
    factors = initial_factors(IDS, resolve_spec("mllib", rank=3), 0)
    np.testing.assert_allclose(np.linalg.norm(factors, axis=1), 1, rtol=1e-6)
    assert np.abs(factors.mean(axis=0)).max() < 0.02


def test_uniform_start_lies_between_zero_and_the_scale():
    factors = initial_factors(IDS, resolve_spec("implicit", rank=4), 0)
    assert factors.dtype == np.float32
    assert factors.min() >= 0
    assert 0.0099 < factors.max() <= 0.01
    assert factors.mean() == pytest.approx(0.005, rel=0.01)


def test_squared_normal_start_is_a_scaled_chi_square():
    factors = initial_factors(IDS, resolve_spec("lenskit", rank=4), 0)
    assert factors.min() >= 0
    assert factors.mean() == pytest.approx(1e-4, rel=0.03)  # the variance of N(0, 0.01)


@pytest.mark.parametrize("preset", ["ials", "mllib"])
def test_nonnegative_start_is_the_absolute_value(preset):
    signed = initial_factors(IDS, resolve_spec(preset, rank=4), 1)
    absolute = initial_factors(IDS, resolve_spec(preset, rank=4, nonnegative=True), 1)
    assert (signed < 0).any()
    np.testing.assert_array_equal(absolute, np.abs(signed))


def test_start_depends_on_seed_side_and_id_alone():
    spec = resolve_spec("ials", rank=4)
    whole = initial_factors(IDS, spec, 0)
    np.testing.assert_array_equal(initial_factors(IDS[100:200], spec, 0), whole[100:200])
    assert (initial_factors(IDS, spec, 1) != whole).any(axis=1).all()
    assert (
        (initial_factors(IDS, resolve_spec("ials", rank=4, seed=1), 0) != whole).any(axis=1).all()
    )
