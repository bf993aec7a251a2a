"""Initial factors as a function of (seed, side, id)."""

import numpy as np
import numpy.typing as npt

from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.random import normal, uniform
from recsys_spark.kernels.threads import in_threads

_DRAWN = 65_536  # numbers at a time, so that they stay in the cache on their way


def initial_factors(
    ids: npt.NDArray[np.int64], spec: WalsSpec, stream: int, threads: int = 1
) -> npt.NDArray[np.float32]:
    """Factors of shape (len(ids), rank), single precision.

    `normal` draws N(0, init_scale / sqrt(rank)) as Google's iALS does; `unit_norm` scales a
    Gaussian row to length one as MLlib does; `uniform` draws from [0, init_scale) as implicit
    does; `squared_normal` squares N(0, init_scale) as LensKit does. Nonnegative objectives start
    from absolute values.
    """
    rows = max(1, _DRAWN // spec.rank)
    factors = np.empty((len(ids), spec.rank), np.float32)

    def draw(start: int) -> None:
        factors[start : start + rows] = _drawn(ids[start : start + rows], spec, stream)

    for _ in in_threads(draw, range(0, len(ids), rows), threads):
        pass
    return factors


def _drawn(ids: npt.NDArray[np.int64], spec: WalsSpec, stream: int) -> npt.NDArray[np.float32]:
    if spec.init == "uniform":
        return (spec.init_scale * uniform(spec.seed, stream, ids, spec.rank)).astype(np.float32)
    draws = normal(spec.seed, stream, ids, spec.rank)
    if spec.init == "unit_norm":
        draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    elif spec.init == "squared_normal":
        draws = np.square(spec.init_scale * draws)
    else:
        draws *= spec.init_scale / np.sqrt(spec.rank)
    if spec.nonnegative:
        draws = np.abs(draws)
    return draws.astype(np.float32)
