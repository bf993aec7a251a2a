"""`WALSModel`: predictions, recommendations beside MLlib's, files."""

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F

from recsys_spark import WALS, WALSModel
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.factors import Factors, factors_frame
from recsys_spark.als.trainer import solve_side
from recsys_spark.errors import ConfigError, ContractError
from tests.als.samples import factors_of, frame_of, ratings

USER_IDS = np.array([-4, 0, 3, 8, 9])
ITEM_IDS = np.array([1, 2, 5, 6, 7, 11, 2**20])
GIVEN = {"rank": 2, "maxIter": 1, "seed": 3}


@pytest.fixture(scope="module")
def vectors():
    """Factors of small whole numbers, so that scores are exact and several of them equal."""
    rng = np.random.default_rng(0)
    sides = (rng.integers(-2, 3, (len(ids), 2)).astype(np.float32) for ids in (USER_IDS, ITEM_IDS))
    return tuple(sides)


@pytest.fixture(scope="module")
def model(spark, vectors):
    frames = (
        factors_frame(spark, Factors(ids, matrix), "int")
        for ids, matrix in zip((USER_IDS, ITEM_IDS), vectors, strict=True)
    )
    return WALSModel(*frames, 2, [3.0, 2.5])  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def training(spark):
    return frame_of(spark, ratings(users=6, items=5), ("user", "item", "rating"), id_type="int")


@pytest.fixture(scope="module")
def fitted(training):
    return WALS(objective="explicit", numBlocks=2, **GIVEN).fit(training)


@pytest.fixture(scope="module")
def mllib(training):
    return ALS(numUserBlocks=1, numItemBlocks=1, **GIVEN).fit(training)


def best(scores, ids, n, excluded=()):
    """The n best (id, score), ties to the smaller id."""
    pairs = [(int(i), float(s)) for i, s in zip(ids, scores, strict=True) if i not in excluded]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:n]


def lists(frame):
    """Row id to its (id, rating) pairs, in order."""
    return {row[0]: [(entry[0], entry[1]) for entry in row[1]] for row in frame.collect()}


def pairs_frame(spark, pairs, names="user int, item int"):
    return spark.createDataFrame(pairs, names)


def predictions(frame):
    return sorted(
        (row["user"], row["item"], row["prediction"])
        for row in frame.select("user", "item", "prediction").collect()
    )


def test_prediction_is_the_dot_product(spark, model, vectors):
    pairs = [(int(u), int(i)) for u in USER_IDS for i in ITEM_IDS]
    scored = model.transform(pairs_frame(spark, pairs))
    assert scored.dtypes == [("user", "int"), ("item", "int"), ("prediction", "float")]
    products = (vectors[0] @ vectors[1].T).ravel()
    assert predictions(scored) == [(*pair, x) for pair, x in zip(pairs, products, strict=True)]


def test_transform_keeps_the_other_columns_and_repeated_rows(spark, model):
    data = spark.createDataFrame(
        [("a", 5, 3), ("b", 5, 3), ("b", 5, 3)], "note string, item long, user long"
    )
    scored = model.transform(data)
    assert scored.columns == ["note", "item", "user", "prediction"]
    assert scored.drop("prediction").schema == data.schema
    assert sorted(row["note"] for row in scored.collect()) == ["a", "b", "b"]


def test_cold_pairs_are_nan_or_dropped(spark, model):
    data = pairs_frame(spark, [(3, 5), (99, 5), (3, 99), (None, 5)])
    values = {(row[0], row[1]): row[2] for row in model.transform(data).collect()}
    assert len(values) == 4
    assert [pair for pair, x in values.items() if not np.isnan(x)] == [(3, 5)]
    dropped = model.transform(data, {model.coldStartStrategy: "drop"}).collect()
    assert [(row["user"], row["item"]) for row in dropped] == [(3, 5)]


def test_transform_refuses_text_ids_and_missing_columns(spark, model):
    with pytest.raises(ContractError, match="user is string"):
        model.transform(pairs_frame(spark, [("a", 5)], "user string, item int"))
    with pytest.raises(ContractError, match="no column item"):
        model.transform(pairs_frame(spark, [(3,)], "user int"))


@pytest.mark.parametrize("n", [3, 100])
def test_lists_are_the_best_items_with_ties_by_id(model, vectors, n):
    scores = vectors[0] @ vectors[1].T
    assert any(len(set(row)) < len(row) for row in scores.tolist())
    expected = {int(u): best(row, ITEM_IDS, n) for u, row in zip(USER_IDS, scores, strict=True)}
    assert lists(model.recommendForAllUsers(n)) == expected


def test_excluded_pairs_never_appear_and_lists_stay_full(spark, model, vectors):
    seen = {0: {1, 5}, 3: set(ITEM_IDS.tolist()), 9: {2**20}}
    # Pairs that occur twice or that the model does not know change nothing.
    pairs = [(u, i) for u, items in seen.items() for i in items]
    pairs += [(0, 5), (0, 4), (0, 2**21), (77, 1)]
    got = lists(model.recommendForAllUsers(3, exclude=pairs_frame(spark, pairs)))
    scores = vectors[0] @ vectors[1].T
    assert got == {
        int(u): best(row, ITEM_IDS, 3, seen.get(int(u), ()))
        for u, row in zip(USER_IDS, scores, strict=True)
    }
    assert got[3] == []
    assert len(got[0]) == 3


def test_user_subsets_leave_out_unknown_and_repeated_users(spark, model):
    some = pairs_frame(spark, [(3,), (9,), (3,), (77,)], "user int")
    everybody = lists(model.recommendForAllUsers(2))
    got = model.recommendForUserSubset(some, 2)
    assert got.count() == 2
    assert lists(got) == {user: everybody[user] for user in (3, 9)}
    exclude = pairs_frame(spark, [(3, everybody[3][0][0])])
    assert lists(model.recommendForUserSubset(some, 1, exclude))[3] == everybody[3][1:]


def test_items_get_their_best_users(spark, model, vectors):
    scores = vectors[1] @ vectors[0].T
    expected = {int(i): best(row, USER_IDS, 2) for i, row in zip(ITEM_IDS, scores, strict=True)}
    assert lists(model.recommendForAllItems(2)) == expected
    some = pairs_frame(spark, [(7,), (4,)], "item int")
    assert lists(model.recommendForItemSubset(some, 2)) == {7: expected[7]}
    exclude = pairs_frame(spark, [(int(u), 7) for u in USER_IDS[1:]])
    only = lists(model.recommendForAllItems(2, exclude))
    assert [user for user, _ in only[7]] == [-4]


@pytest.mark.parametrize("n", [0, -1])
def test_less_than_one_recommendation_is_refused(model, n):
    with pytest.raises(ConfigError, match="a whole number, 1 or more"):
        model.recommendForAllUsers(n)


def test_names_and_types_are_those_of_mllib(training, fitted, mllib):
    for method in ("recommendForAllUsers", "recommendForAllItems"):
        ours, theirs = (getattr(model, method)(2) for model in (fitted, mllib))
        assert ours.schema.simpleString() == theirs.schema.simpleString()
    for method in ("recommendForUserSubset", "recommendForItemSubset"):
        ours, theirs = (getattr(model, method)(training, 2) for model in (fitted, mllib))
        assert ours.schema.simpleString() == theirs.schema.simpleString()
    assert fitted.transform(training).dtypes == mllib.transform(training).dtypes
    assert fitted.userFactors.dtypes == mllib.userFactors.dtypes
    assert fitted.rank == mllib.rank


def test_mllibs_factors_give_mllibs_lists_and_predictions(training, mllib):
    ours = WALSModel(mllib.userFactors, mllib.itemFactors, mllib.rank)
    one, other = (lists(model.recommendForAllUsers(3)) for model in (ours, mllib))
    assert {u: [i for i, _ in entries] for u, entries in one.items()} == {
        u: [i for i, _ in entries] for u, entries in other.items()
    }
    got, expected = (predictions(model.transform(training)) for model in (ours, mllib))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_column_names_of_the_estimator_are_used_everywhere(spark, vectors):
    frame = frame_of(spark, ratings(users=4, items=3), ("person", "film", "stars"))
    wals = WALS(userCol="person", itemCol="film", ratingCol="stars", predictionCol="p", **GIVEN)
    model = wals.fit(frame)
    assert model.transform(frame).columns == ["person", "film", "stars", "p"]
    recommended = model.recommendForAllUsers(2, exclude=frame)
    assert recommended.dtypes == [
        ("person", "bigint"),
        ("recommendations", "array<struct<film:bigint,rating:float>>"),
    ]
    seen = {(row["person"], row["film"]) for row in frame.collect()}
    listed = {(u, i) for u, entries in lists(recommended).items() for i, _ in entries}
    assert not seen & listed
    assert seen | listed == {(u, i) for u in range(4) for i in range(3)}


def test_saved_models_predict_the_same_and_hold_no_pickles(spark, training, fitted, tmp_path):
    path = tmp_path / "model"
    fitted.save(str(path))
    loaded = WALSModel.load(str(path))
    assert predictions(loaded.transform(training)) == predictions(fitted.transform(training))
    assert loaded.lossHistory == fitted.lossHistory
    assert (loaded.rank, loaded.uid) == (fitted.rank, fitted.uid)
    assert loaded.objective == fitted.objective
    assert loaded.extractParamMap() == fitted.extractParamMap()
    for file in (file for file in path.rglob("*") if file.is_file()):
        content = file.read_bytes()
        metadata = file.parent.name == "metadata"
        assert content[:4] == b"PAR1" or metadata or file.suffix == ".crc" or not content
        assert content[:1] != b"\x80"


@pytest.fixture(scope="module")
def rated(spark):
    """Ratings under names of their own, with weights, targets and times."""
    frame = frame_of(spark, ratings(seed=2), ("person", "film", "stars"), id_type="int")
    more = {"sure": "film % 3 + 0.5", "goal": "stars - 0.5", "at": "person * 86400 + film"}
    return frame.withColumns({name: F.expr(text) for name, text in more.items()})


@pytest.fixture(scope="module")
def weighed(rated):
    named = {"userCol": "person", "itemCol": "film", "ratingCol": "stars", "weightCol": "sure"}
    named |= {"targetCol": "goal", "timestampCol": "at"}
    given = {"objective": "irspack", "weighting": "bm25", "halfLifeDays": 9.0, "nu": 0.5}
    return WALS(itemUnobservedExponent=0.5, nuStar=1.0, **named, **given, **GIVEN).fit(rated)


def test_users_fold_into_their_own_factors(rated, weighed):
    some = rated.where("person in (3, 5, 8)")
    folded = weighed.foldInUsers(some, training=rated)
    assert folded.dtypes == weighed.userFactors.dtypes
    ids, features = factors_of(folded)
    known, trained = factors_of(weighed.userFactors)
    assert ids.tolist() == [3, 5, 8]
    np.testing.assert_allclose(features, trained[np.isin(known, ids)], rtol=1e-5, atol=1e-6)


def test_fold_in_of_items_solves_for_their_users(rated, weighed):
    folded = weighed.foldInItems(rated.where("film in (2, 3)"), training=rated)
    assert folded.dtypes == weighed.itemFactors.dtypes
    ids, features = factors_of(folded)
    users = Factors(*factors_of(weighed.userFactors))
    inside = rated.toDF("user", "item", "value", "weight", "target", "timestamp")
    expected = solve_side(inside, "item", users, weighed.objective, Plan(), inside)
    assert ids.tolist() == [2, 3]
    np.testing.assert_allclose(features, expected.vectors[[2, 3]], rtol=1e-5, atol=1e-6)


def test_a_loaded_model_folds_in_as_the_saved_one(spark, rated, tmp_path):
    names = {"userCol": "person", "itemCol": "film", "ratingCol": "stars"}
    model = WALS(objective="lenskit_explicit", clip=[1.0, 5.0], **names, **GIVEN).fit(rated)
    model.save(str(tmp_path / "model"))
    loaded = WALSModel.load(str(tmp_path / "model"))
    assert loaded.objective == model.objective
    assert loaded.objective.clip == (1.0, 5.0)
    new = rated.where("person = 4").withColumn("person", F.lit(400))
    one, other = (factors_of(each.foldInUsers(new, training=rated)) for each in (model, loaded))
    assert one[0].tolist() == [400]
    np.testing.assert_array_equal(one[1], other[1])


def test_fold_in_names_missing_inputs(model, training, rated, weighed):
    with pytest.raises(ConfigError, match=r"since weighting.*`training`"):
        weighed.foldInUsers(rated)
    with pytest.raises(ContractError, match="no column at"):
        weighed.foldInUsers(rated.drop("at"), training=rated)
    with pytest.raises(ConfigError, match="does not know what it was trained to minimise"):
        model.foldInUsers(training)


def test_objectives_without_statistics_fold_in_by_the_rows_alone(spark, training, fitted):
    strangers = training.where("user = 1").withColumn("user", F.lit(-7))
    unknown = training.limit(1).select(F.lit(-8).alias("user"), F.lit(99).alias("item"), "rating")
    ids, features = factors_of(fitted.foldInUsers(strangers.unionByName(unknown)))
    known, trained = factors_of(fitted.userFactors)
    assert ids.tolist() == [-7]
    np.testing.assert_allclose(features, trained[known == 1], rtol=1e-5, atol=1e-6)
    assert fitted.foldInUsers(unknown).collect() == []


def test_save_overwrites_a_model_on_request_only(model, fitted, tmp_path):
    path = str(tmp_path / "model")
    model.save(path)
    with pytest.raises(Exception, match="overwrite"):
        fitted.save(path)
    fitted.write().overwrite().save(path)
    np.testing.assert_array_equal(
        factors_of(WALSModel.load(path).userFactors)[1], factors_of(fitted.userFactors)[1]
    )


def test_folders_of_another_class_are_refused(spark, tmp_path, model):
    WALS().save(str(tmp_path / "wals"))
    model.save(str(tmp_path / "model"))
    with pytest.raises(AssertionError, match="WALSModel"):
        WALSModel.load(str(tmp_path / "wals"))


def test_fitted_pipelines_are_saved_and_loaded(training, tmp_path):
    wals = WALS(objective="explicit", coldStartStrategy="drop", numBlocks=1, **GIVEN)
    fitted = Pipeline(stages=[wals]).fit(training)
    fitted.save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    (stage,) = loaded.stages
    assert isinstance(stage, WALSModel)
    assert stage.getColdStartStrategy() == "drop"
    assert stage.lossHistory == fitted.stages[0].lossHistory
    assert predictions(loaded.transform(training)) == predictions(fitted.transform(training))


def listed(scored):
    return {
        row["user"]: [entry["item"] for entry in row["recommendations"]] for row in scored.collect()
    }


def test_a_loaded_model_is_saved_over_itself(training, fitted, tmp_path):
    path = str(tmp_path / "model")
    fitted.save(path)
    expected = predictions(fitted.transform(training))
    loaded = WALSModel.load(path)
    for _ in range(2):  # the model goes on, with the files that took the place of its own
        loaded.write().overwrite().save(path)
        assert predictions(loaded.transform(training)) == expected
    assert predictions(WALSModel.load(path).transform(training)) == expected
    assert [entry.name for entry in tmp_path.iterdir() if "crc" not in entry.name] == ["model"]


def test_a_model_that_cannot_be_written_leaves_the_old_one(training, fitted, tmp_path, monkeypatch):
    path = str(tmp_path / "model")
    fitted.save(path)
    monkeypatch.setattr(type(fitted.write()), "saveImpl", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fitted.write().overwrite().save(path)
    assert WALSModel.load(path).rank == fitted.rank


def test_loaded_models_list_what_fresh_ones_list(training, tmp_path):
    fresh = WALS(objective="explicit", numBlocks=1, numItems=5, **GIVEN).fit(training)
    path = str(tmp_path / "model")
    fresh.save(path)
    loaded = WALSModel.load(path)
    found = listed(loaded.transform(training))
    assert found == listed(fresh.transform(training))
    known = {(row["user"], row["item"]) for row in training.collect()}
    assert not known & {(user, item) for user, items in found.items() for item in items}
    loaded.write().overwrite().save(path)
    assert listed(loaded.transform(training)) == found
    renamed = training.withColumnsRenamed({"user": "u", "item": "i"})
    lists = loaded.setUserCol("u").setItemCol("i").transform(renamed).collect()
    assert {row["u"]: [e["i"] for e in row["recommendations"]] for row in lists} == found


def test_models_without_training_pairs_are_refused(training, fitted, tmp_path):
    fitted.save(str(tmp_path / "model"))
    loaded = WALSModel.load(str(tmp_path / "model")).setNumItems(2)
    with pytest.raises(ConfigError, match="does not know its training pairs"):
        loaded.transform(training)
