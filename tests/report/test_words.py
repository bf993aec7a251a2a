"""What a run says of itself: the headline, what was done, what to try next."""

import pytest

from recsys_spark.report.page import best_models, metric_rows
from recsys_spark.report.words import advice, explained, headline, split_sentence


def row(model, value, metric="ndcg", k=10, split="test", limits=(None, None)):
    return {
        "model": model, "metric": metric, "k": k, "split": split, "value": value,
        "ci_low": limits[0], "ci_high": limits[1],
    }  # fmt: skip


def evaluated(model=0.4, knn=0.3, **more):
    rows = [
        row("model", model, limits=(model - 0.01, model + 0.01)),
        row("item_knn", knn),
        row("popularity", 0.2),
        row("model", 0.25, "item_coverage"),
        row("popularity", 0.9, split="test_among_99_sampled"),
    ]
    return {"split": "test", "k": 10, "min_relevant_value": None, "metrics": rows, **more}


def summaries(**changed):
    """Of a run about which nothing is to be said."""
    found = {
        "ingest": {
            "rows_read": 1000, "rows_rejected": 2, "reasons": {"bad_value": 2}, "values": [1, 5],
            "guessed": [], "histograms": {"days": []},
        },
        "split": {"method": "per_user"},
        "train": {
            "preset": "irspack", "values": "values 1 to 5 are used: confidence = value",
            "spec": {
                "rank": 16, "iterations": 10, "unobserved_weight": 1.0, "regularization": 0.001,
            },
        },
        "evaluate": evaluated(),
        "recommend": {"users": 100, "n": 10, "short_lists": 0},
    }  # fmt: skip
    return changed | {stage: part | changed.get(stage, {}) for stage, part in found.items()}


PAIRED = {"baseline": "item_knn", "difference": 0.1, "ci_low": 0.08, "ci_high": 0.12,
          "p_value": 0.001}  # fmt: skip


def test_headline_compares_with_the_best_baseline():
    given = summaries(evaluate=evaluated(paired=PAIRED))
    first, *rest = headline(given, "2026-11-21T20:15:00+00:00")
    assert first == (
        "The model has an NDCG@10 of 0.4000 (95 % interval 0.3900 to 0.4100), the best baseline, "
        "item knn, 0.3000: +0.1000, user by user +0.0800 to +0.1200 (95 %), p = 0.001, by more "
        "than chance."
    )
    assert rest == [
        "Every test row counts as relevant, whatever its value.",
        "The first 10 items of its lists show 25.0% of the items.",
        "All 100 lists have 10 items.",
        "Published 2026-11-21 20:15 UTC.",
    ]


def test_headline_is_of_the_delivered_model():
    first, *_ = headline(summaries(evaluate=evaluated(delivered="item_knn", paired=None)), None)
    assert first == (
        "The delivered model, item knn, has an NDCG@10 of 0.3000, the best of the others, model, "
        "0.4000."
    )
    (line, *_) = advice(summaries(evaluate=evaluated(delivered="item_knn", paired=None)))
    assert line.startswith("Model is ahead of item knn: ")


@pytest.mark.parametrize(("ci_high", "advised"), [(0.01, False), (-0.01, True)])
def test_advice_calls_a_baseline_ahead_by_its_interval(ci_high, advised):
    behind = PAIRED | {"difference": -0.1, "ci_low": -0.19, "ci_high": ci_high}
    found = evaluated(paired=behind) | {"metrics": [row("model", 0.2), row("item_knn", 0.3)]}
    said = " ".join(advice(summaries(evaluate=found)))
    assert ("Item knn is ahead of the model" in said) == advised


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"evaluate": evaluated(paired=PAIRED | {"ci_low": -0.01})}, "within chance"),
        ({"evaluate": evaluated(paired=None)}, "item knn, 0.3000."),
        ({"evaluate": evaluated(min_relevant_value=4.0)}, "Test rows of 4 and above count"),
        ({"recommend": {"short_lists": 7}}, "7 of 100 lists have fewer than 10 items."),
        ({"evaluate": evaluated() | {"metrics": [row("model", 0.4)]}}, "no baseline was measured"),
        (
            {"refit": {"rows": 99, "evaluated_rows": 80, "k": 10, "overlap": 0.614}},
            "on all 99 interactions; the metrics are of the model fitted on 80, whose lists share "
            "61% of the first 10 items.",
        ),
        ({"refit": {"rows": 99, "evaluated_rows": 80, "k": 10}}, "fitted on 80. Not published"),
        ({}, "Not published."),
    ],
    ids=["chance", "unpaired", "relevance", "short", "alone", "refit", "uncompared", "unpublished"],
)
def test_headline_follows_the_results(changed, said):
    assert said in " ".join(headline(summaries(**changed), None))


def test_headline_of_an_evaluation_alone():
    assert headline({"evaluate": evaluated()}, None)[-1] == "Not published."


def test_values_objective_and_guesses_are_explained():
    given = summaries(ingest={"guessed": ["user_id_type is string", "item_id_type is string"]})
    assert explained(given) == {
        "Values": "values 1 to 5 are used: confidence = value",
        "Objective": "preset irspack, rank 16, 10 iterations, unobserved weight 1, "
        "regularization 0.001",
        "Guessed": "user_id_type is string; item_id_type is string",
    }
    assert explained({"evaluate": evaluated()}) == {}


UNUSED = {"train": {"values": "values 1 to 5 are not used: each of 9 rows counts as a like; ..."}}
AHEAD = {"evaluate": evaluated(0.3, 0.4)}
REJECTED = {"ingest": {"rows_rejected": 20, "reasons": {"bad_value": 5, "empty_user": 15}}}
SHORT = {"recommend": {"short_lists": 6}}
TIMES = {"ingest": {"histograms": {"days": [[1, 1, 5], [2, 2, 5]]}}}


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        (UNUSED, ["values (1 to 5)", "objective.weighting", "min_relevant_value"]),
        (AHEAD, ["Item knn is ahead", "recsys-spark tune"]),
        (REJECTED, ["20 of 1,000 rows", "empty_user", "show rejects"]),
        (SHORT, ["6 of 100 lists", "recommend.backfill"]),
        (TIMES, ["split.method=global_time"]),
    ],
    ids=["values", "baseline", "rejects", "short", "times"],
)
def test_advice_follows_from_the_results(changed, keys):
    (text,) = advice(summaries(**changed))
    assert all(key in text for key in keys)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"ingest": {"rows_rejected": 10}},
        {"recommend": {"short_lists": 5}},
        TIMES | {"split": {"method": "global_time"}},
        TIMES | {"split": {"method": "none"}},
        {"ingest": {"histograms": {"days": [[1, 1, 5]]}}},
        {"evaluate": evaluated(0.3, 0.3)},
    ],
    ids=["nothing", "few-rejects", "few-short", "by-time", "unsplit", "one-day", "equal"],
)
def test_advice_is_empty_for_results_without_findings(changed):
    assert advice(summaries(**changed)) == []


def test_at_most_three_advices_the_most_important_first():
    changed = UNUSED | AHEAD | REJECTED | SHORT
    found = advice(summaries(**changed))
    assert len(found) == 3
    assert "not used" in found[0]
    assert advice({"evaluate": evaluated()}) == []


SPLIT = {
    "rows": {"train": 80, "validation": 0, "test": 20}, "cold": {"users": 0, "items": 3},
    "in_both": 0, "older_than_training": 19, "unused": 0, "dropped": 0,
}  # fmt: skip


@pytest.mark.parametrize("method", ["random", "per_user", "k_fold", "user_holdout", "predefined"])
def test_older_test_rows_are_no_alarm_where_the_split_does_not_follow_time(method):
    said = split_sentence(SPLIT | {"method": method})
    assert "The split does not follow time: 95% of the test rows are older" in said
    assert "Caution" not in said
    assert "80 train, 20 test rows" in said
    assert "Of the test rows, 3 items are not in the training rows." in said


@pytest.mark.parametrize("method", ["leave_last_out", "global_time", "time_window"])
def test_older_test_rows_are_an_alarm_where_the_split_follows_time(method):
    said = split_sentence(SPLIT | {"method": method})
    assert "Caution: 19 test rows are older" in said
    assert "older" not in split_sentence(SPLIT | {"method": method, "older_than_training": 0})


def test_pairs_in_both_parts_and_rows_left_out_are_named():
    said = split_sentence(SPLIT | {"method": "predefined", "in_both": 4, "unused": 5, "dropped": 6})
    for text in ("Caution: 4 pairs are in train and in test", "5 later rows", "6 rows of unknown"):
        assert text in said


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("ndcg", {"model": 0.5, "random": 0.1}, {"model"}),
        ("miscalibration", {"model": 0.5, "random": 0.1}, {"random"}),
        ("ndcg", {"model": 0.50001, "random": 0.50002}, {"model", "random"}),
        ("popularity_rank", {"model": 0.5, "random": 0.1}, set()),
        ("auc", {"model": 0.5}, set()),
    ],
)
def test_the_best_value_follows_the_direction(metric, values, best):
    rows = {model: {"value": value} for model, value in values.items()}
    assert best_models(metric, rows) == best


def test_metric_rows_have_meaning_and_direction():
    rows = [row("model", 0.5), row("random", 0.1), row("model", 0.2, "rmse", None)]
    first, second = metric_rows(rows, 10)
    assert (first["arrow"], first["best"]) == ("↑", {"model"})
    assert (second["arrow"], second["metric"]) == ("↓", "rmse")
    assert first["meaning"].endswith(".")
