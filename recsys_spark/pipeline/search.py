"""What to try next: settings of the objective from a space, by grid, at random or by TPE."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from math import exp, log
from typing import Any

import numpy as np

from recsys_spark.config import Config, Range, Scalar, Tune
from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.guided_search import Walk, guided

Settings = dict[str, Scalar]
Tried = tuple[Settings, float]


def proposals(config: Config, parts: list[str], tried: Sequence[Tried]) -> Iterator[Settings]:
    """Settings to try, the ones tried before first, so that a search can be taken up again.

    parts: the models that the measured one is made of. tried: settings and what they were worth, in
    order; the list grows between two proposals, which TPE and the guided search learn from.
    """
    if not config.tune.space:
        return _answered(guided(config, parts), tried, config.tune.trials)
    return _from_space(config.tune, tried)


def require_method(config: Tune) -> None:
    """Raise ConfigError if TPE is wanted and Optuna is not installed."""
    if config.space and config.method == "tpe" and find_spec("optuna") is None:
        raise ConfigError(
            "tune.method: tpe needs Optuna: pip install 'recsys-spark[tune]', or choose random."
        )


def _answered(walk: Walk, tried: Sequence[Tried], most: int) -> Iterator[Settings]:
    """The settings of a walk, which learns what each was worth; none is handed out twice."""
    known: dict[str, float] = {}
    settings = next(walk, None)
    while settings is not None:
        name = repr(settings)
        if name not in known:
            if len(known) == most:
                return
            yield settings
            known[name] = tried[len(known)][1]
        try:
            settings = walk.send(known[name])
        except StopIteration:
            return


def _from_space(config: Tune, tried: Sequence[Tried]) -> Iterator[Settings]:
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
    import optuna  # an extra that need not be there: `require_method`

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=config.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {key: _distribution(optuna, values) for key, values in config.space.items()}
    for number in range(config.trials):
        trial = study.ask(space)
        yield dict(trial.params)
        study.tell(trial, tried[number][1])


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
