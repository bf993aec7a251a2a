"""Values that a parameter never takes are refused when they are set, as is data of pandas."""

import pandas as pd
import pytest
from pyspark.ml.tuning import ParamGridBuilder

from recsys_spark import WALS, WALSModel
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.evaluation import TopNEvaluator, measure_ranking
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.ml.params import PARAMETERS

REFUSED = [
    ("rank", 0, "rank is 0; it must be 1 or more."),
    ("maxIter", -1, "maxIter is -1; it must be 1 or more."),
    ("regParam", -0.1, "regParam is -0.1; it must be 0.0 or more."),
    ("halfLifeDays", 0.0, "halfLifeDays is 0.0; it must be above 0."),
    ("clip", [5.0, 1.0], "clip is [5.0, 1.0]; it must be [low, high]."),
    ("decayReference", "today", "decayReference is 'today'; write it as 2024-05-31"),
    ("objective", "als", "objective is 'als'; choose one of ials, hu2008"),
    ("weighting", "square", "weighting is 'square'; choose one of binary, linear"),
    ("solver", "qr", "solver is 'qr'; choose one of auto, cholesky"),
    ("cgSteps", 0, "cgSteps is 0; it must be 1 or more."),
    ("placement", "ring", "placement is 'ring'; choose one of auto, replicated"),
    ("numBlocks", -1, "numBlocks is -1; it must be 0 or more."),
    ("numItems", -1, "numItems is -1; it must be 0 or more."),
    ("coldStartStrategy", "zero", "coldStartStrategy is 'zero'; choose one of nan, drop."),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_values_are_refused_when_they_are_set(name, value, message):
    setter = f"set{name[0].upper()}{name[1:]}"
    wals = WALS()
    for attempt in (
        lambda: WALS(**{name: value}),
        lambda: wals.setParams(**{name: value}),
        lambda: getattr(wals, setter)(value),
        lambda: wals.set(wals.getParam(name), value),
        lambda: wals.copy({wals.getParam(name): value}),
    ):
        with pytest.raises(ConfigError) as refused:
            attempt()
        assert str(refused.value).startswith(message)


def test_the_model_refuses_the_same_values():
    with pytest.raises(ConfigError, match=r"^coldStartStrategy is 'zero'; choose one of nan, drop"):
        WALSModel().setColdStartStrategy("zero")


def test_values_that_go_together_may_be_set_one_after_the_other():
    wals = WALS(alpha=2.0)
    with pytest.raises(ConfigError, match="no effect with weighting: binary"):
        wals.spec()
    assert wals.setWeighting("linear").spec().alpha == 2.0


def test_every_parameter_takes_the_values_of_a_grid():
    wals = WALS()
    grid = ParamGridBuilder().addGrid(wals.rank, [2, 3]).addGrid(wals.nu, [0, 1]).build()
    assert [wals.copy(own).getRank() for own in grid] == [2, 2, 3, 3]
    assert set(PARAMETERS.values()) - {""} <= {param.name for param in wals.params}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metricName": "rmse"}, "metricName is 'rmse'; choose one of "),
        ({"k": 0}, "k is 0; it must be 1 or more."),
    ],
)
def test_the_evaluator_refuses_values_when_they_are_set(given, message):
    for attempt in (lambda: TopNEvaluator(**given), lambda: TopNEvaluator().setParams(**given)):
        with pytest.raises(ConfigError) as refused:
            attempt()
        assert str(refused.value).startswith(message)


FRAME = pd.DataFrame({"user": [1], "item": [2], "rating": [3.0]})
CURE = r"is a pandas\..*DataFrame; it must be a DataFrame of Spark: spark\.createDataFrame\("


@pytest.fixture
def model(spark):
    factors = spark.createDataFrame([(1, [1.0])], "id int, features array<float>")
    return WALSModel(factors, factors, rank=1, objective=resolve_spec("ials", rank=1))


@pytest.mark.parametrize(
    "attempt",
    [
        lambda model: WALS().fit(FRAME),
        lambda model: WALS().fitFrom(FRAME, model),
        lambda model: model.transform(FRAME),
        lambda model: model.recommendForUserSubset(FRAME, 1),
        lambda model: model.recommendForAllUsers(1, exclude=FRAME),
        lambda model: model.foldInUsers(FRAME),
        lambda model: WALSModel(FRAME, FRAME),
        lambda model: TopNEvaluator().evaluate(FRAME),
        lambda model: measure_ranking(FRAME, FRAME, [1]),
    ],
)
def test_data_of_pandas_is_refused_with_the_cure(model, attempt):
    with pytest.raises(ContractError, match=CURE):
        attempt(model)


@pytest.mark.parametrize("count", [0, 1.5, "3"])
def test_a_number_of_recommendations_is_whole_and_above_0(spark, model, count):
    with pytest.raises(ConfigError, match=r"must be a whole number, 1 or more"):
        model.recommendForAllUsers(count)
    with pytest.raises(ConfigError, match=r"side is 'users'; choose one of user, item"):
        model.known("users")
    with pytest.raises(ConfigError, match="it must be a WALSModel"):
        WALS().fitFrom(spark.createDataFrame(FRAME), None)
