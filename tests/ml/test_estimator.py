"""`WALS` as a Spark ML estimator: its parameters, what it refuses, tuning, saving."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.recommendation import ALS
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F

from recsys_spark import WALS, WALSModel
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import fit_factors
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.als.keys import keys_of
from recsys_spark.kernels.als.solver import Solver
from recsys_spark.kernels.als.spec import PRESETS, WalsSpec
from tests.als.samples import factors_of, frame_of, ratings


def rated(spark, **kwargs):
    return frame_of(spark, ratings(**kwargs), names=("user", "item", "rating"))


def test_parameters_are_keywords_only():
    kinds = {p.kind for p in list(inspect.signature(WALS.__init__).parameters.values())[1:]}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    with pytest.raises(TypeError):
        WALS("explicit")  # type: ignore[call-arg]


def test_defaults_are_the_presets():
    wals = WALS()
    assert (wals.getUserCol(), wals.getItemCol(), wals.getRatingCol()) == ("user", "item", "rating")
    assert (wals.getPredictionCol(), wals.getColdStartStrategy()) == ("prediction", "nan")
    assert (wals.getObjective(), wals.getSeed()) == ("ials", 42)
    for preset in PRESETS.keys() - {"ials", "irspack"}:  # their beta follows from another key
        assert WALS(objective=preset).spec() == PRESETS[preset]


def test_parameters_reach_the_objective():
    wals = WALS(objective="hu2008", rank=3, maxIter=4, regParam=0.5, unobservedWeight=0.2)
    wals.setParams(weighting="log", alpha=2.0, epsilon=0.1, nu=0.5, beta=0.3)
    spec = wals.setNonnegative(True).setSeed(9).spec()
    assert (spec.rank, spec.iterations, spec.regularization) == (3, 4, 0.5)
    assert (spec.unobserved_weight, spec.weighting, spec.alpha) == (0.2, "log", 2.0)
    assert (spec.epsilon, spec.nu, spec.beta) == (0.1, 0.5, 0.3)
    assert (spec.nonnegative, spec.seed) == (True, 9)


def test_parameters_reach_the_solver():
    assert WALS().row_solver() == Solver("auto")
    assert WALS(solver="cg", cgSteps=5).row_solver() == Solver("cg", cg_steps=5)
    assert WALS(solver="subspace").setSubspaceBlock(8).row_solver() == Solver(
        "subspace", subspace_block=8
    )


def test_parameters_have_the_types_and_texts_of_their_keys():
    """The signature is written out, for editors; all else is made from the specs."""
    wals, signature = WALS(), inspect.signature(WALS.__init__).parameters
    keys = {**keys_of(WalsSpec), **keys_of(Solver)}
    for own in keys.values():
        kind = str if own.choices else {tuple[float, float]: list[float]}.get(own.kind, own.kind)
        accepted = str if own.name == "method" else kind | None
        assert signature[own.parameter].annotation == accepted, own.parameter
    docs = {name: wals.getParam(keys[name].parameter).doc for name in keys}
    assert docs["rank"] == "Length of a factor vector (64)."
    assert docs["user_regularization"] == "lambda of the users; unset: regParam."
    assert docs["cg_steps"] == "Steps a row of cg (3)."


def test_every_key_of_the_objective_has_its_parameter():
    keys = {field.name for field in fields(WalsSpec)}
    renamed = {"maxIter", "regParam", "userRegParam", "itemRegParam"}
    camel = {
        key.split("_")[0] + "".join(w.capitalize() for w in key.split("_")[1:]) for key in keys
    }
    same = camel - {"iterations", "regularization", "userRegularization", "itemRegularization"}
    assert same | renamed <= {param.name for param in WALS().params}
    accepted = inspect.signature(WALS.__init__).parameters.keys()
    assert {param.name for param in WALS().params} <= accepted
    spec = WALS(objective="mllib_explicit", clip=[1, 5], userRegParam=0.3, biases="means").spec()
    assert (spec.clip, spec.strength("user"), spec.biases) == ((1.0, 5.0), 0.3, "means")


def test_getters_and_setters_are_those_of_mllib(spark):
    assert WALS().setRank(5).getRank() == 5
    mllib = {name for name in dir(ALS) if name.startswith("get")}
    ours = {name for name in dir(WALS) if name.startswith("get")}
    shared = {param.name for param in WALS().params} & {param.name for param in ALS().params}
    assert {"rank", "regParam", "userCol", "nonnegative"} <= shared
    accessors = {"get" + name[0].upper() + name[1:] for name in shared}
    assert accessors <= mllib & ours
    assert not hasattr(WALS(), "setRanks")


def test_copy_takes_a_param_map_and_leaves_the_original():
    wals = WALS(rank=3)
    other = wals.copy({wals.rank: 7, wals.regParam: 0.5})
    assert (other.spec().rank, other.spec().regularization) == (7, 0.5)
    assert (wals.spec().rank, wals.spec().regularization) == (3, 0.003)
    assert other.uid == wals.uid


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"alpha": 3.0}, "alpha"),
        ({"objective": "explicit", "unobservedWeight": 0.1}, "unobservedWeight"),
        ({"objective": "mllib", "epsilon": 0.1}, "epsilon"),
        ({"objective": "hu2008", "beta": 0.1}, "beta"),
        ({"rank": 0}, "rank"),
        ({"objective": "best"}, "objective"),
        ({"solver": "cholesky", "cgSteps": 3}, "cgSteps"),
        ({"solver": "subspace", "nonnegative": True}, "nonnegative"),
    ],
)
def test_parameters_without_effect_or_out_of_range_are_refused(spark, given, key):
    with pytest.raises(ConfigError, match=key):
        WALS(**given).fit(rated(spark))


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError, match="regparam"):
        WALS(regparam=0.1)
    with pytest.raises((AttributeError, TypeError), match="regparam"):
        WALS().setParams(regparam=0.1)


def test_text_ids_are_refused_with_the_cure(spark):
    frame = rated(spark).withColumn("user", F.col("user").cast("string"))
    with pytest.raises(ContractError, match=r"user is string.*StringIndexer"):
        WALS().fit(frame)


@pytest.mark.parametrize("column", ["user", "item", "rating"])
def test_missing_columns_are_named(spark, column):
    with pytest.raises(ContractError, match=f"no column {column}"):
        WALS().fit(rated(spark).drop(column))


def test_fit_is_fit_factors_with_the_columns_of_the_data(spark):
    columns = ratings(users=6, items=5)
    frame = frame_of(spark, columns, names=("person", "film", "stars"), id_type="int")
    wals = WALS(objective="mllib", rank=2, maxIter=1, numBlocks=2, alpha=2.0)
    model = wals.fit(frame, {wals.userCol: "person", wals.itemCol: "film", wals.ratingCol: "stars"})
    spec = WALS(objective="mllib", rank=2, maxIter=1, alpha=2.0).spec()
    expected = fit_factors(frame_of(spark, columns), spec, Plan(2))
    for frame, factors in ((model.userFactors, expected.user), (model.itemFactors, expected.item)):
        assert frame.dtypes == [("id", "int"), ("features", "array<float>")]
        ids, vectors = factors_of(frame)
        np.testing.assert_array_equal(ids, factors.ids)
        np.testing.assert_array_equal(vectors, factors.vectors)
    assert isinstance(model, WALSModel)
    assert (model.rank, model.getUserCol(), model.uid) == (2, "person", wals.uid)
    assert model.lossHistory == [loss.total for loss in expected.losses]


def test_fit_from_a_model_continues_its_training(spark, tmp_path):
    frame = frame_of(spark, ratings(), names=("user", "item", "rating"), id_type="int")
    wals = WALS(objective="hu2008", rank=2, maxIter=4, numBlocks=2)
    wals.fit(frame).write().save(str(tmp_path / "model"))
    before = WALSModel.load(str(tmp_path / "model"))
    wals.setMaxIter(1)
    moved = frame.withColumn("user", F.when(F.col("user") < 3, 100).otherwise(F.col("user")))
    warm, cold = wals.fitFrom(moved, before), wals.fit(moved)
    assert warm.lossHistory[0] < cold.lossHistory[0]
    assert warm.userFactors.where("id = 100").count() == 1
    assert warm.userFactors.where("id < 3").isEmpty()
    with pytest.raises(ConfigError, match=r"2 coordinates.*3; set rank"):
        wals.setRank(3).fitFrom(frame, before)


def test_weights_targets_and_times_are_read_from_named_columns(spark):
    columns = ratings(users=6, items=5)
    plain = frame_of(spark, columns, names=("user", "item", "rating"))
    frame = plain.withColumns(
        {
            "how_much": F.col("user") + 1.0,
            "goal": F.col("item") / 2.0,
            "at": F.col("user").cast("timestamp"),
        }
    )
    given = {"objective": "hu2008", "rank": 2, "maxIter": 1, "numBlocks": 2, "halfLifeDays": 1e-4}
    named = {"weightCol": "how_much", "targetCol": "goal", "timestampCol": "at"}
    model = WALS(**named, **given).fit(frame)
    inside = frame.withColumnsRenamed(
        {"rating": "value", "how_much": "weight", "goal": "target", "at": "timestamp"}
    )
    spec = WALS(**given).spec()
    expected = fit_factors(inside, spec, Plan(2))
    np.testing.assert_array_equal(factors_of(model.itemFactors)[1], expected.item.vectors)
    with pytest.raises(ContractError, match="timestampCol"):
        WALS(**given).fit(frame)
    with pytest.raises(ContractError, match="no column much"):
        WALS(weightCol="much").fit(frame)


def test_without_a_rating_column_every_row_counts_one(spark):
    frame = rated(spark, users=6, items=5)
    ones = frame.withColumn("rating", F.lit(1.0))
    given = {"objective": "hu2008", "rank": 2, "maxIter": 1, "numBlocks": 2}
    models = WALS(ratingCol="", **given).fit(frame.drop("rating")), WALS(**given).fit(ones)
    one, other = (factors_of(model.itemFactors)[1] for model in models)
    np.testing.assert_array_equal(one, other)


def test_cross_validation_chooses_the_better_penalty(spark):
    rng = np.random.default_rng(0)
    truth = 3 + np.outer(rng.normal(size=14), rng.normal(size=10))
    user, item = np.nonzero(np.ones(truth.shape))
    frame = frame_of(spark, (user, item, truth.ravel()), names=("user", "item", "rating"))
    wals = WALS(
        objective="explicit", rank=2, maxIter=2, numBlocks=1, coldStartStrategy="drop", seed=3
    )
    search = CrossValidator(
        estimator=wals,
        estimatorParamMaps=ParamGridBuilder().addGrid(wals.regParam, [5.0, 0.01]).build(),
        evaluator=RegressionEvaluator(labelCol="rating", metricName="rmse"),
        numFolds=2,
        seed=1,
    ).fit(frame)
    bad, good = search.avgMetrics
    assert good < 0.9 * bad
    assert search.bestModel.lossHistory
    assert search.transform(frame.limit(3)).count() == 3


def test_estimator_is_saved_and_loaded(spark, tmp_path):
    wals = WALS(objective="hu2008", rank=3, alpha=2.0, userCol="person", numBlocks=4)
    wals.save(str(tmp_path / "wals"))
    loaded = WALS.load(str(tmp_path / "wals"))
    assert loaded.spec() == wals.spec()
    assert loaded.uid == wals.uid
    assert loaded.extractParamMap() == wals.extractParamMap()
    assert not loaded.isSet("regParam")


def test_unfitted_pipelines_are_saved_and_loaded(spark, tmp_path):
    Pipeline(stages=[WALS(rank=3)]).save(str(tmp_path / "pipeline"))
    (stage,) = Pipeline.load(str(tmp_path / "pipeline")).getStages()
    assert isinstance(stage, WALS)
    assert stage.getRank() == 3
