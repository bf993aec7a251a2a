"""What the report shows of a run's records."""

import re

import pytest

from recsys_spark.report.page import draw_figures, draw_seconds, render_report
from tests.report.report_records import MODELS, records


def rendered(stages=None, **summaries):
    made = records(**summaries)
    kept = {stage: made[stage] for stage in stages or made}
    figures = draw_figures(kept) | draw_seconds(kept)
    return figures, render_report("run-1", kept, figures)


@pytest.fixture(scope="module")
def page():
    return rendered()[1]


def test_report_begins_with_headline_explanation_and_advice(page):
    start = page[: page.index('<h2 id="data">')]
    for text in (
        "The model has an NDCG@10 of 0.4000",
        "the best baseline, popularity",
        "by more than chance.",
        "4 of 2,000 lists have fewer than 10 items.",
        "Published 2026-11-21 20:15 UTC.",
        "values 0.5 to 5 are not used: each of 99,999 rows counts as a like",
        "preset ials, rank 64",
        "user_id_type is string",
        "Try next",
        "objective.weighting=linear",
    ):
        assert text in start


def test_report_words_are_true_of_splits_by_hash(page):
    assert "The split does not follow time: 98% of the test rows" in page
    assert "held out" in page
    for untrue in ("then chose", "had before", "Caution", "new in test"):
        assert untrue not in page


def test_report_metrics_have_meaning_direction_and_one_best_value(page):
    rows = re.findall(r"<tr><td>(.*?)</tr>", page, re.S)
    row = {text.split("<")[0].strip(): text for text in rows}
    assert "as a share of a perfect list" in row["ndcg ↑"]
    assert re.findall(r"<b>([\d.]+)</b>", row["ndcg ↑"]) == ["0.4000"]
    assert re.findall(r"<b>([\d.]+)</b>", row["gini ↓"]) == ["0.3200"]
    assert "<b>" not in row["popularity rank"]
    assert len(re.findall(r'<td class="n">', row["ndcg ↑"])) == len(MODELS)


def test_report_draws_histograms_and_a_colour_bar():
    figures, page = rendered()
    assert {"values", "activity", "days", "long_tail"} <= set(figures)
    assert "Interactions by day." in page
    assert "standard deviations" in re.sub("<!--|-->", "", figures["factors"])


def test_report_leaves_out_histograms_of_one_value_or_none():
    one = {"values": [[1.0, 1.0, 9]], "activity": [[1, 1, 5], [2, 2, 4]], "days": []}
    figures, page = rendered(ingest={"histograms": one})
    assert {"values", "days"} & set(figures) == set()
    assert "Interactions by value" not in page
    assert 'class="gallery of2"' in page


def test_report_of_an_evaluation_alone():
    _, page = rendered(["evaluate"])
    assert "Not published." in page
    assert "Try next" not in page
    assert 'href="#data"' not in page
