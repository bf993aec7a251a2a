"""What to try next: settings of the objective from a space, by grid, by chance or by TPE."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np

from recsys_spark.config import Range, Scalar, Tune
from recsys_spark.errors import ConfigError

Settings = dict[str, Scalar]
Tried = tuple[Settings, float]


def proposals(config: Tune, tried: Sequence[Tried]) -> Iterator[Settings]:
    """Settings to try, the ones tried before first, so that a search can be taken up again.

    tried: settings and what they were worth, in order; the list may grow between two proposals,
    and TPE learns from it. Raises ConfigError if TPE is wanted and Optuna is not installed.
    """
    if not config.space:
        raise ConfigError(
            "tune.space is empty: name keys of the objective to search, such as --set "
            "'tune.space={rank: [32, 64], regularization: {low: 0.0003, high: 0.03, log: true}}'."
        )
    if config.method == "grid":
        yield from _grid(config)
    elif config.method == "random":
        yield from (_random(config, trial) for trial in range(config.trials))
    else:
        yield from _by_tpe(config, tried)


def _grid(config: Tune) -> Iterator[Settings]:
    lists = {key: values for key, values in config.space.items() if isinstance(values, list)}
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def _random(config: Tune, trial: int) -> Settings:
    """A function of seed and number alone."""
    draw = np.random.default_rng([config.seed, trial])
    return {key: _drawn(values, draw) for key, values in config.space.items()}


def _drawn(values: list[Scalar] | Range, draw: np.random.Generator) -> Scalar:
    if isinstance(values, list):
        return values[int(draw.integers(len(values)))]
    if values.log:
        value = exp(draw.uniform(log(values.low), log(values.high)))
    else:
        value = draw.uniform(values.low, values.high)
    return round(value) if values.whole else float(f"{value:.6g}")


def _by_tpe(config: Tune, tried: Sequence[Tried]) -> Iterator[Settings]:
    try:
        import optuna  # an extra that need not be there
    except ImportError:
        raise ConfigError(
            "tune.method: tpe needs Optuna: pip install 'recsys-spark[tune]', or choose random."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=config.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {key: _distribution(optuna, values) for key, values in config.space.items()}
    known = 0
    for number in range(config.trials):
        for settings, value in tried[known:]:
            study.add_trial(
                optuna.trial.create_trial(params=settings, distributions=space, value=value)
            )
            known += 1
        if number < known:
            yield tried[number][0]
        else:
            yield dict(study.ask(space).params)


def _distribution(optuna: Any, values: list[Scalar] | Range) -> Any:
    kinds = optuna.distributions
    if isinstance(values, list):
        return kinds.CategoricalDistribution(values)
    if values.whole:
        return kinds.IntDistribution(int(values.low), int(values.high), log=values.log)
    return kinds.FloatDistribution(values.low, values.high, log=values.log)


def best(tried: Sequence[Tried]) -> Mapping[str, Scalar]:
    """The settings of the largest value; of equal ones the first."""
    return max(tried, key=lambda one: one[1])[0]
