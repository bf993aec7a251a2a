"""A search without a space: pattern search from the configuration, then ranks upwards.

Settings are walked one after the other (Hooke, Jeeves 1961): a step to either side, and on in the
direction that is better, until no step is. The rank is doubled while that pays, as the authors of
iALS++ advise (Rendle, Krichene, Zhang, Koren 2021), and the strengths are walked again. The
settings of the other models that are delivered come last, so that the weighted ALS is kept.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from recsys_spark.config import WALS, Config, Model, Objective, Scalar
from recsys_spark.neighbours.spec import Ease

Settings = dict[str, Scalar]
# Settings are handed out, and what they are worth is sent back.
Walk = Generator[Settings, float, None]

_PAYS = 1.005  # a doubled rank has to be so much better
_LARGEST_RANK = 1024


@dataclass(frozen=True)
class Setting:
    """A key and where it begins; `step` gives the next value upwards or downwards, or None."""

    key: str
    start: Scalar
    step: Callable[[Scalar, int], Scalar | None]


def guided(config: Config, parts: list[str]) -> Walk:
    """Settings worth trying, for a model that is blended of these parts."""
    here = _Place(dict(_starts(config, parts)))
    yield from here.begin()
    if WALS in parts:
        strengths = _strengths(config.objective)
        yield from here.walk(strengths)
        yield from _raise_rank(here, config, strengths)
    for setting in _of_models(config, parts):
        yield from here.walk([setting])
    weights = _weights(config)
    yield from here.walk(weights)


class _Place:
    """The best settings so far, and what they are worth."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.value = settings, float("-inf")

    def begin(self) -> Walk:
        """The settings to begin with."""
        self.value = yield dict(self.settings)

    def step(self, key: str, value: Scalar) -> Generator[Settings, float, bool]:
        """Try another value; whether it was better, and is kept."""
        settings = self.settings | {key: value}
        worth = yield settings
        if worth <= self.value:
            return False
        self.settings, self.value = settings, worth
        return True

    def walk(self, settings: list[Setting]) -> Walk:
        """Each setting up or down for as long as it gets better."""
        for setting in settings:
            for direction in (1, -1):
                moved = False
                while (value := setting.step(self.settings[setting.key], direction)) is not None:
                    if not (yield from self.step(setting.key, value)):
                        break
                    moved = True
                if moved:
                    break


def _starts(config: Config, parts: list[str]) -> list[tuple[str, Scalar]]:
    settings = [*_of_models(config, parts), *_weights(config)]
    if WALS in parts:
        settings = [*_strengths(config.objective), *settings]
        return [("rank", config.objective.spec().rank), *((s.key, s.start) for s in settings)]
    return [(setting.key, setting.start) for setting in settings]


def _strengths(objective: Objective, above: str = "") -> list[Setting]:
    """Those that the objective has: one without unobserved pairs has no weight of them."""
    spec = objective.spec()
    strengths = {
        "unobserved_weight": (spec.unobserved_weight, _times(3.0, 1e-4, 10.0)),
        "regularization": (spec.regularization, _times(3.0, 1e-5, 10.0)),
    }
    return [
        Setting(above + key, start, step) for key, (start, step) in strengths.items() if start > 0
    ]


def _raise_rank(here: _Place, config: Config, strengths: list[Setting]) -> Walk:
    """Double the rank while that pays, and walk the strengths at every rank."""
    while True:
        before, rank = here.value, int(here.settings["rank"])
        if 2 * rank > _LARGEST_RANK:
            return
        better = yield from here.step("rank", 2 * rank)
        if not better or here.value <= before * _PAYS:
            return
        yield from here.walk(strengths)


def _of_models(config: Config, parts: list[str]) -> list[Setting]:
    """The settings of the other models that matter most."""
    found = []
    for name in parts:
        model = config.models.get(name)
        if model is not None and model.kind == "wals":
            found += _strengths(config.objective_of(name), f"models.{name}.objective.")
        elif model is not None:
            found += _of_model(f"models.{name}", model)
    return found


def _of_model(key: str, model: Model) -> list[Setting]:
    if model.kind == "rp3beta":
        return [Setting(f"{key}.beta", model.beta, _plus(0.1, 0.0, 1.0))]
    if model.kind == "ease":
        start = model.regularization or Ease().regularization
        return [Setting(f"{key}.regularization", start, _times(3.0, 1.0, 1e6))]
    if model.kind == "mllib":
        start = model.mllib().regularization
        return [Setting(f"{key}.regularization", start, _times(3.0, 1e-4, 1e2))]
    if model.kind in ("item_knn", "user_knn"):
        return [Setting(f"{key}.neighbours", model.neighbours or 50, _times(2.0, 10, 2000))]
    return []


def _weights(config: Config) -> list[Setting]:
    """The weights of a blend's parts, but for the first, which the others are relative to."""
    first = config.recommend.chain[0]
    model = config.models.get(first)
    if model is None or model.kind != "blend":
        return []
    names = list(model.parts)[1:]
    return [
        Setting(f"models.{first}.parts.{name}", model.parts[name], _times(1.5, 1e-4, 1e5))
        for name in names
    ]


def _times(factor: float, low: float, high: float) -> Callable[[Scalar, int], Scalar | None]:
    def step(value: Scalar, direction: int) -> Scalar | None:
        moved = float(value) * factor**direction
        if not low <= moved <= high:
            return None
        return round(moved) if isinstance(value, int) else float(f"{moved:.4g}")

    return step


def _plus(size: float, low: float, high: float) -> Callable[[Scalar, int], Scalar | None]:
    def step(value: Scalar, direction: int) -> Scalar | None:
        moved = round(float(value) + size * direction, 4)
        return moved if low <= moved <= high else None

    return step
