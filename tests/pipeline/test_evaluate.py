"""The evaluate stage on a whole run: every table, baseline, segment and figure."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ContractError
from recsys_spark.kernels.metrics.beyond_accuracy import LIST_METRICS
from recsys_spark.kernels.metrics.full_ranking import RANK_METRICS
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.pipeline.stage_graph import STAGES
from tests.pipeline.pipeline_runs import run_in, write_source

BASELINES = ["popularity", "recent_popularity", "random", "item_knn", "user_knn", "mllib"]


@pytest.fixture(scope="module")
def evaluated(spark, tmp_path_factory):
    """All baselines of rated films, with genres, and countries of users."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_source(folder)
    names = (f'{i},"Film, {i}",{"Drama|War" if i % 2 else "Comedy"}\n' for i in range(1, 26))
    (folder / "items.csv").write_text("item_id,title,genres\n" + "".join(names))
    countries = (f"{user},{'DE' if user % 3 else 'FR'}\n" for user in range(1, 31))
    (folder / "users.csv").write_text("id,country\n" + "".join(countries))
    outcome = run_in(
        folder,
        "objective.preset=mllib_explicit",
        f"items.path={folder / 'items.csv'}",
        "items.columns.genres=genres",
        "evaluate.k=[3, 10]",
        f"evaluate.baselines=[{', '.join(BASELINES)}]",
        f"evaluate.users={{path: {folder / 'users.csv'}, user: id, columns: [country]}}",
        "evaluate.cold_below=11",
        "evaluate.full_ranking=true",
        stages=STAGES[:4],
        run_id="run",
    )

    def table(name):
        return pq.read_table(folder / "root/tables" / name / "versions/run").to_pylist()

    return SimpleNamespace(
        folder=folder, table=table, summary=outcome.records["evaluate"].summary,
        metrics={(r["model"], r["metric"], r["k"], r["segment"]): r for r in table("metrics")},
    )  # fmt: skip


def test_models_are_measured_on_the_same_users(evaluated):
    for model in ["model", *BASELINES]:
        for metric in METRICS:
            row = evaluated.metrics[model, metric, 3, "all"]
            assert row["users"] == 30
            assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_models_with_scores_have_metrics_of_the_full_ranking(evaluated):
    scoring = {model for model, metric, *_ in evaluated.metrics if metric == "auc"}
    assert scoring == {"model", *BASELINES}
    assert evaluated.metrics["random", "auc", None, "all"]["value"] == pytest.approx(0.5, abs=0.15)
    assert {name for _, name, k, _ in evaluated.metrics if k is None} >= set(RANK_METRICS)


def test_lists_are_described_and_compared_with_the_model_s(evaluated):
    for model in ["model", *BASELINES]:
        for metric in (*LIST_METRICS, "item_coverage", "gini", "personalisation"):
            assert (model, metric, 10, "all") in evaluated.metrics
        alike = evaluated.metrics.get((model, "overlap", 10, "all"))
        assert (alike is None) == (model == "model")
    novelty = {
        m: evaluated.metrics[m, "novelty", 3, "all"]["value"] for m in ("popularity", "random")
    }
    assert novelty["popularity"] < novelty["random"]


def test_segments_of_users_are_averaged_by_themselves(evaluated):
    """Means of segments that divide all users, by their numbers, are the mean of all."""
    segments = {segment for *_, segment in evaluated.metrics}
    for name in ("activity", "country"):
        parts = [segment for segment in segments if segment.startswith(f"{name}=")]
        assert len(parts) > 1
        rows = [evaluated.metrics["model", "ndcg", 3, part] for part in parts]
        assert sum(row["users"] for row in rows) == 30
        mean = sum(row["users"] * row["value"] for row in rows) / 30
        assert mean == pytest.approx(evaluated.metrics["model", "ndcg", 3, "all"]["value"])


def test_hits_are_parted_by_the_popularity_of_items(evaluated):
    hits = {
        segment: row["value"] * row["users"]
        for (model, metric, k, segment), row in evaluated.metrics.items()
        if (model, metric, k) == ("model", "precision", 10)
    }
    parts = {segment: own for segment, own in hits.items() if segment.startswith("items=")}
    assert set(parts) >= {"items=head", "items=tail"}
    assert sum(parts.values()) == pytest.approx(hits["all"])


def test_the_table_of_users_has_their_means(evaluated):
    rows = evaluated.table("metrics_per_user")
    assert {row["segment"] for row in rows} == {"all"}
    for model in ("model", *BASELINES):
        own = [row["ndcg"] for row in rows if (row["model"], row["k"]) == (model, 10)]
        assert len(own) == 30
        mean = evaluated.metrics[model, "ndcg", 10, "all"]["value"]
        assert sum(own) / 30 == pytest.approx(mean, abs=1e-9)


def test_exposure_of_groups_and_errors_by_rating(evaluated):
    segments = {metric: set() for _, metric, *_ in evaluated.metrics}
    for _, metric, _, segment in evaluated.metrics:
        segments[metric].add(segment)
    assert {"genre=Comedy", "genre=Drama", "items=head"} <= segments["exposure"]
    assert {"all", "value=1", "value=5"} <= segments["rmse"]
    assert segments["r2"] == {"all"}


def test_the_record_has_what_the_report_draws(evaluated):
    pictures = evaluated.summary["pictures"]
    assert set(pictures["exposure"]) == {"model", *BASELINES}
    sets = pictures["sets"]
    assert sets["sizes"]["held_out"] == len(
        {(r["user"], r["item"]) for r in evaluated.table("test")}
    )
    counts = [pattern["count"] for pattern in sets["patterns"]]
    assert counts == sorted(counts, reverse=True)
    (person, *_) = pictures["people"]
    assert {"history", "held_out", "model", "mllib"} <= set(person["lists"])
    titles = [title for titles in person["lists"].values() for title in titles]
    assert all(title.startswith("Film, ") for title in titles)
    assert [row["true"] for row in pictures["ratings"]] == ["1", "2", "3", "4", "5"]
    assert len(pictures["directions"]["items"]) == len(pictures["directions"]["values"])
    text = (evaluated.folder / "root/runs/run/metrics.json").read_text()
    assert len(json.loads(text)) == len(evaluated.metrics)


def test_the_model_is_compared_with_the_best_baseline_user_by_user(evaluated):
    values = {
        model: evaluated.metrics[model, "ndcg", 10, "all"]["value"]
        for model in ["model", *BASELINES]
    }
    best = max(BASELINES, key=values.get)
    paired = evaluated.summary["paired"]
    assert (paired["baseline"], paired["users"]) == (best, 30)
    assert paired["difference"] == pytest.approx(values["model"] - values[best], abs=1e-6)
    assert paired["ci_low"] <= paired["difference"] <= paired["ci_high"]
    assert 0 < paired["p_value"] <= 1


def test_neighbours_that_cost_too_much_are_left_out(run):
    outcome = run(
        "evaluate.baselines=[item_knn, user_knn]",
        "evaluate.max_pair_products=100",
        stages=STAGES[:4],
    )
    rows = outcome.records["evaluate"].summary["metrics"]
    assert {row["model"] for row in rows} == {"model"}
    assert "auc" not in {row["metric"] for row in rows}


def test_rows_without_times_have_no_recent_popularity(run, tmp_path, source):
    lines = [line.rsplit(",", 1)[0] for line in source.read_text().splitlines()]
    source.write_text("\n".join(lines) + "\n")
    outcome = run(
        "ingest.source.columns.timestamp=null", "evaluate.baselines=[recent_popularity]",
        stages=STAGES[:4],
    )  # fmt: skip
    models = {row["model"] for row in outcome.records["evaluate"].summary["metrics"]}
    assert models == {"model"}


def test_a_missing_attribute_is_named(run, tmp_path):
    (tmp_path / "users.csv").write_text("user_id,age\n1,20\n")
    with pytest.raises(ContractError, match=r"no column 'country' \(evaluate.users.columns\)"):
        run(
            f"evaluate.users={{path: {tmp_path / 'users.csv'}, columns: [country]}}",
            stages=STAGES[:4],
        )
