"""Models beside the weighted ALS: fitted, delivered, and blended."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.pipeline.compare import Side, compare_runs
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from tests.pipeline.pipeline_runs import run_in, write_source
from tests.reference.neighbours import similarities, truncated

EVERY = "{deep: 1, spark: 0.5, angle: 2, alike: 0.25, walks: 3}"
WALKS = "models.walks={kind: rp3beta, beta: 0.3}"
MODELS = (
    WALKS,
    "models.near={kind: item_knn, neighbours: 5}",
    "models.alike={kind: user_knn, neighbours: 15}",
    "models.twin={kind: wals}",
    "models.deep={kind: wals, objective: {rank: 5, regularization: 0.01, seed: 3}}",
    "models.spark={kind: mllib, rank: 3}",
    "models.angle={kind: cosine}",
    "models.deep_angle={kind: cosine, of: deep}",
    "models.sold={kind: popularity}",
    "models.mix={kind: blend, parts: {model: 1.0, walks: 3.0}}",
    "models.even={kind: blend, parts: {model: 1.0, walks: 0.5}, method: standardised}",
    "models.fused={kind: blend, parts: {model: 1, near: 2}, method: rank_fusion}",
    f"models.every={{kind: blend, parts: {EVERY}}}",
)
UPSTREAM = ("ingest", "split", "train")


def table(folder, name, version="night"):
    return pq.read_table(folder / "root/tables" / name / "versions" / version).to_pylist()


@pytest.fixture(scope="module")
def trained(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_source(folder)
    run_in(folder, *MODELS, stages=UPSTREAM, run_id="night")
    return folder


def factors(folder, users, items, name=None, version="night"):
    """Those of the weighted ALS, or of another model."""
    found = []
    for side, count in (("user", users), ("item", items)):
        rows = table(folder, f"{'model_' if name else ''}{side}_factors", version)
        rows = [row for row in rows if name is None or row["model"] == name]
        matrix = np.zeros((count, len(rows[0]["factors"])))
        for row in rows:
            matrix[row["id"]] = row["factors"]
        found.append(matrix)
    return found


def cosines(X, Y):
    lengths = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(Y, axis=1)
    return X @ Y.T / np.where(lengths > 0, lengths, 1)


@pytest.fixture(scope="module")
def dense(trained):
    """Scores of every model by its definition, (users, items), and what users have."""
    rows = table(trained, "interactions")
    train = table(trained, "train")
    users, items = (max(row[side] for row in rows) + 1 for side in ("user", "item"))
    fitted, known = np.zeros((users, items)), np.zeros((users, items))
    for row in train:
        fitted[row["user"], row["item"]] = 1
    for row in rows:
        known[row["user"], row["item"]] = 1
    X, Y = factors(trained, users, items)
    degrees, popularity = fitted.sum(axis=1), fitted.sum(axis=0)
    W = fitted.T @ (fitted / degrees[:, None]) / popularity[:, None] / popularity[None, :] ** 0.3
    np.fill_diagonal(W, 0)
    scores = {"model": X @ Y.T, "walks": known @ W, "sold": np.tile(popularity, (users, 1))}
    scores["alike"] = np.zeros((users, items))
    for user, nearest in truncated(similarities(np.where(known, 1, np.nan), "cosine"), 15).items():
        scores["alike"][user] = sum(weight * known[other] for other, weight in nearest.items())
    for name in ("deep", "spark"):
        own = factors(trained, users, items, name)
        scores[name] = own[0] @ own[1].T
    scores["angle"] = cosines(X, Y)
    scores["deep_angle"] = cosines(*factors(trained, users, items, "deep"))
    scores["mix"] = scores["model"] + 3 * scores["walks"]
    scores["even"] = scores["model"] / scores["model"].std(axis=1, keepdims=True) + (
        0.5 * scores["walks"] / scores["walks"].std(axis=1, keepdims=True)
    )
    return scores, known


def lists(folder, run_id):
    rows = table(folder, "recommendations", run_id)
    users = {row["id"]: row["index"] for row in table(folder, "user_ids")}
    items = {row["id"]: row["index"] for row in table(folder, "item_ids")}
    return {
        users[row["user_id"]]: (
            row["source"],
            [(items[entry["item_id"]], entry["score"]) for entry in row["recommendations"]],
        )
        for row in rows
    }


@pytest.mark.parametrize("name", ["walks", "alike", "deep", "deep_angle", "sold", "mix", "even"])
def test_lists_are_ranked_by_the_scores_of_the_definition(trained, dense, name):
    scores, known = dense
    settings = (*MODELS, f"recommend.model={name}", "recommend.n=4", "recommend.backfill=false")
    run_in(trained, *settings, stages=("recommend",), run_id=f"night-{name}")
    found = lists(trained, f"night-{name}")
    assert len(found) == 30
    assert sum(len(entries) for _, entries in found.values()) > 50
    for user, (source, entries) in found.items():
        assert source == (name if entries else "popular")  # some users have every item
        own = np.where(known[user] > 0, -np.inf, scores[name][user])
        best = np.sort(own)[::-1][: len(entries)]
        assert [score for _, score in entries] == pytest.approx(best, rel=1e-5)
        assert [own[item] for item, _ in entries] == pytest.approx(best, rel=1e-5)
        free = (own > 0).sum() if name in ("walks", "alike") else np.isfinite(own).sum()
        assert len(entries) == min(4, free)


def test_a_weighted_als_with_the_same_keys_has_the_same_factors(trained):
    main, twin, deep = (factors(trained, 30, 25, name) for name in (None, "twin", "deep"))
    for side in range(2):
        np.testing.assert_array_equal(main[side], twin[side])
    assert deep[0].shape == (30, 5)


def test_every_kind_is_fitted_again_to_all_rows_measured_and_delivered(spark, tmp_path):
    write_source(tmp_path)
    settings = (*MODELS, "train.refit=true", "recommend.model=[every, sold]", "recommend.n=4")
    run_in(tmp_path, *settings, run_id="night")
    names = {row["model"] for row in table(tmp_path, "metrics_per_user")}
    assert names >= {"every", "deep", "spark", "angle", "deep_angle", "alike", "walks"}
    known = np.zeros((30, 25))
    for row in table(tmp_path, "interactions"):
        known[row["user"], row["item"]] = 1
    X, Y = factors(tmp_path, 30, 25, version="night.refit")
    (D, E), (S, T) = (factors(tmp_path, 30, 25, n, "night.refit") for n in ("deep", "spark"))
    scores = D @ E.T + 0.5 * S @ T.T + 2 * cosines(X, Y)
    for user, nearest in truncated(similarities(np.where(known, 1, np.nan), "cosine"), 15).items():
        scores[user] += 0.25 * sum(weight * known[other] for other, weight in nearest.items())
    popularity = known.sum(axis=0)
    W = known.T @ (known / known.sum(axis=1)[:, None]) / popularity[:, None] / popularity**0.3
    np.fill_diagonal(W, 0)
    scores += 3 * known @ W
    for user, (source, entries) in lists(tmp_path, "night").items():
        assert source == ("every" if entries else "popular")  # some users have every item
        own = np.where(known[user] > 0, -np.inf, scores[user])
        best = np.sort(own[np.isfinite(own)])[::-1][:4]
        assert [score for _, score in entries] == pytest.approx(best, rel=1e-5)


WORDS = ("war", "love", "space", "train")


def test_content_model_lists_items_without_interactions(spark, tmp_path):
    write_source(tmp_path)
    named = {str(item): (f"{WORDS[item % 4]} {WORDS[item % 3]}") for item in range(1, 26)}
    named |= {"99": "space train", "100": "war", "101": "unheard of"}
    lines = "".join(f"{item},{title}\n" for item, title in named.items())
    (tmp_path / "items.csv").write_text("item_id,title\n" + lines)
    settings = (
        "models={words: {kind: content, neighbours: 28}, walks: {kind: rp3beta}, "
        "both: {kind: blend, parts: {words: 1, walks: 2}}}",
        f"items.path={tmp_path / 'items.csv'}",
    )
    run_in(tmp_path, *settings, stages=UPSTREAM, run_id="night")
    settings += ("recommend.model=words", "recommend.n=28", "recommend.backfill=false")
    run_in(tmp_path, *settings, stages=("recommend",), run_id="known")
    asked = (*settings, "recommend.cold_start_items=true", "recommend.explain=1")
    run_in(tmp_path, *asked, stages=("recommend",), run_id="cold")
    near = tfidf_cosines(list(named.values()))
    names = list(named)
    history = {}
    for row in table(tmp_path, "interactions"):
        history.setdefault(row["user_id"], []).append(names.index(str(row["item_id"])))
    for row in table(tmp_path, "recommendations", "cold"):
        own = history[row["user_id"]]
        scores = {name: near[own, at].sum() for at, name in enumerate(names) if at not in own}
        found = {str(entry["item_id"]): entry["score"] for entry in row["recommendations"]}
        assert found == pytest.approx({k: v for k, v in scores.items() if v > 0}, rel=1e-5)
        assert {"99", "100"} <= set(found)
        assert all(entry["because"] for entry in row["recommendations"])
    for row in table(tmp_path, "recommendations", "known"):
        assert not {"99", "100", "101"} & {
            str(entry["item_id"]) for entry in row["recommendations"]
        }
    blended = (*asked, "recommend.model=[both]", "recommend.explain=0")
    run_in(tmp_path, *blended, stages=("recommend",), run_id="blended")
    for row in table(tmp_path, "recommendations", "blended"):
        assert {"99", "100"} <= {str(entry["item_id"]) for entry in row["recommendations"]}


def tfidf_cosines(titles):
    terms = [title.split() for title in titles]
    words = sorted({word for own in terms for word in own})
    counts = np.array([[own.count(word) for word in words] for own in terms], dtype=float)
    weights = counts * (np.log((1 + len(terms)) / (1 + (counts > 0).sum(axis=0))) + 1)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    near = weights @ weights.T
    np.fill_diagonal(near, 0)
    return near


@pytest.mark.parametrize("name", ["mix", "alike", "angle"])
def test_lists_name_the_items_that_add_most_to_their_scores(trained, name):
    settings = (*MODELS, f"recommend.model={name}", "recommend.n=3", "recommend.explain=25")
    run_in(trained, *settings, stages=("recommend",), run_id=f"why-{name}")
    items = {row["id"]: row["index"] for row in table(trained, "item_ids")}
    rows = table(trained, "recommendations", f"why-{name}")
    explained = 0
    for row in rows:
        for entry in row["recommendations"] if row["source"] == name else ():
            parts = [reason["score"] for reason in entry["because"]]
            assert parts == sorted(parts, reverse=True)
            assert all(part > 0 for part in parts)
            assert {items[reason["item_id"]] for reason in entry["because"]} <= set(range(25))
            explained += bool(parts)
            if name == "alike":  # every part is positive, and all are named
                assert sum(parts) == pytest.approx(entry["score"], rel=1e-5)
    assert explained > 30


def test_a_user_who_came_after_training_is_served_by_the_next_of_the_chain(spark, tmp_path):
    """Without fold-in the ALS does not know the user; walks do."""
    source = write_source(tmp_path)
    run_in(tmp_path, *MODELS, stages=UPSTREAM, run_id="night")
    with source.open("a") as file:
        file.write(f"1001,3,5,{1_600_500_000}\n1001,4,5,{1_600_500_001}\n")
    run_in(tmp_path, *MODELS, stages=("ingest",), run_id="later")
    settings = (*MODELS, "recommend.model=[model, walks]", "recommend.n=3")
    run_in(tmp_path, *settings, stages=("recommend",), run_id="later")
    sources = {row["user_id"]: row["source"] for row in table(tmp_path, "recommendations", "later")}
    assert sources.pop(1001) == "walks"
    assert set(sources.values()) <= {"model", "model+popular", "popular"}


def test_a_model_that_was_not_fitted_is_refused(trained):
    for settings, name in (
        (("models.other={kind: item_knn}", "recommend.model=other"), "other"),
        (("models.walks={kind: rp3beta, beta: 0.9}", "recommend.model=walks"), "walks"),
    ):
        with pytest.raises(ConfigError, match=rf"models\.{name} is not what train of run night"):
            run_in(trained, *settings, stages=("recommend",), run_id=f"night-no-{name}")


def test_models_are_measured_beside_the_als(trained, dense):
    """Those with a full ranking by their scores: AUC of the walks, by its definition."""
    scores, _ = dense
    run_in(trained, *MODELS, "evaluate.full_ranking=true", stages=("evaluate",), run_id="night")
    rows = table(trained, "metrics_per_user")
    assert {row["model"] for row in rows} == {
        "model", "walks", "near", "alike", "twin", "deep", "spark", "angle", "deep_angle", "sold",
        "mix", "even", "fused", "every", "popularity",
    }  # fmt: skip
    users = {row["id"]: row["index"] for row in table(trained, "user_ids")}
    train, test = ({}, {})
    for name, found in (("train", train), ("test", test)):
        for row in table(trained, name):
            found.setdefault(row["user"], set()).add(row["item"])
    fitted = np.zeros_like(scores["walks"])
    for user, items in train.items():
        fitted[user, list(items)] = 1
    W = fitted.T @ (fitted / fitted.sum(1)[:, None]) / fitted.sum(0)[:, None] / fitted.sum(0) ** 0.3
    np.fill_diagonal(W, 0)
    for row in rows:
        if row["model"] != "walks" or row["auc"] is None:
            continue
        user = users[row["user_id"]]
        own = (fitted @ W)[user]
        relevant = test[user] & set(np.flatnonzero(fitted.sum(0)))
        negatives = set(range(fitted.shape[1])) - train[user] - test[user]
        below = [
            np.mean([(own[n] < own[i] - 1e-9) + 0.5 * (abs(own[n] - own[i]) <= 1e-9)
                     for n in negatives])
            for i in relevant
        ]  # fmt: skip
        assert row["auc"] == pytest.approx(sum(below) / len(test[user]), abs=1e-9)


def test_compare_takes_the_delivered_models(trained):
    settings = (*MODELS, "evaluate.baselines=[]", "recommend.model=[even, walks]")
    run_in(trained, *settings, stages=("evaluate",), run_id="delivers")
    config = load_config(overrides=[f"paths.root={trained / 'root'}"])
    rows, sides = compare_runs(config, Log([]), Side("delivers"), Side("delivers", "walks"))
    assert sides == (Side("delivers", "even"), Side("delivers", "walks"))
    assert rows.num_rows > 0
    with pytest.raises(ConfigError, match="Both are even of run delivers"):
        compare_runs(config, Log([]), Side("delivers"), Side("delivers", "even"))
    few = (*settings, "evaluate.per_user=delivered")
    run_in(trained, *few, stages=("evaluate",), run_id="few")
    assert {row["model"] for row in table(trained, "metrics_per_user", "few")} == {"even"}
    again, _ = compare_runs(config, Log([]), Side("few"), Side("delivers"))
    assert set(again["difference"].to_pylist()) == {0.0}
    with pytest.raises(ConfigError, match="kept the metrics of users for even, not for walks"):
        compare_runs(config, Log([]), Side("delivers"), Side("few", "walks"))
