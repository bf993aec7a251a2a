"""A run in sentences: how the model compares, what was done with the data, what to try next."""

from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]
Summaries = Mapping[str, Summary]

MODEL = "model"
BY_TIME = ("leave_last_out", "global_time", "time_window")
_MANY_SHORT = 0.05  # of the lists
_MANY_REJECTED = 0.01  # of the rows
_MOST = 3


def metric_of(summary: Summary, model: str, metric: str) -> dict[str, Any] | None:
    """The row of a metric at the shown cut-off, in the ranking of the whole catalog."""
    rows = summary["metrics"]
    main = min((row["split"] for row in rows), key=len, default="")
    for row in rows:
        found = (row["split"], row["model"], row["metric"])
        if found == (main, model, metric) and row["k"] in (summary["k"], None):
            return dict(row)
    return None


def delivered(summary: Summary) -> str:
    """The name of the model whose lists are delivered, in the summary of evaluate."""
    return str(summary.get("delivered", MODEL))


def best_baseline(summary: Summary, metric: str = "ndcg") -> dict[str, Any] | None:
    """The row of the largest value among all but the delivered model; None where there is none."""
    own = delivered(summary)
    models = dict.fromkeys(row["model"] for row in summary["metrics"] if row["model"] != own)
    rows = [row for name in models if (row := metric_of(summary, name, metric))]
    return max(rows, key=lambda row: row["value"], default=None)


def headline(summaries: Summaries, published_at: str | None) -> list[str]:
    """Model against the best baseline, what the lists cover, and whether readers have them."""
    evaluated = summaries["evaluate"]
    found = [text for text in (_comparison(evaluated), _relevance(evaluated)) if text]
    coverage = metric_of(evaluated, delivered(evaluated), "item_coverage")
    if coverage:
        found.append(
            f"The first {evaluated['k']} items of its lists show {coverage['value']:.1%} of the "
            "items."
        )
    if lists := summaries.get("recommend"):
        found.append(_lists(lists))
    if refit := summaries.get("refit"):
        found.append(_refit(refit))
    when = f"{published_at[:16].replace('T', ' ')} UTC" if published_at else ""
    return [*found, f"Published {when}." if when else "Not published."]


def _comparison(evaluated: Summary) -> str:
    chosen = delivered(evaluated)
    own, other = metric_of(evaluated, chosen, "ndcg"), best_baseline(evaluated)
    if own is None:
        return ""
    name = f"NDCG@{evaluated['k']}"
    subject = "The model" if chosen == MODEL else f"The delivered model, {words(chosen)},"
    measured = f"{subject} has an {name} of {own['value']:.4f}{_limits(own)}"
    if other is None:
        return f"{measured}; no baseline was measured."
    rest = "baseline" if chosen == MODEL else "of the others"
    against = f"the best {rest}, {words(other['model'])}, {other['value']:.4f}"
    return f"{measured}, {against}{_difference(evaluated, other['model'])}."


def _limits(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None:
        return ""
    return f" (95 % interval {row['ci_low']:.4f} to {row['ci_high']:.4f})"


def _difference(evaluated: Summary, baseline: str) -> str:
    paired = evaluated.get("paired")
    if not paired or paired["baseline"] != baseline or paired["ci_low"] is None:
        return ""
    by = "by more than chance" if is_significant(paired) else "within chance"
    return (
        f": {paired['difference']:+.4f}, user by user {paired['ci_low']:+.4f} to "
        f"{paired['ci_high']:+.4f} (95 %), p = {paired['p_value']:.2g}, {by}"
    )


def is_significant(paired: Mapping[str, Any]) -> bool:
    """Whether the 95 % interval of the paired difference leaves out 0."""
    low, high = paired["ci_low"], paired["ci_high"]
    return low is not None and (low > 0 or high < 0)


def _relevance(evaluated: Summary) -> str:
    least = evaluated.get("min_relevant_value")
    if least is None:
        return f"Every {evaluated['split']} row counts as relevant, whatever its value."
    return f"{evaluated['split'].capitalize()} rows of {least:g} and above count as relevant."


def _lists(lists: Summary) -> str:
    users, short = lists["users"], lists["short_lists"]
    if not short:
        return f"All {users:,} lists have {lists['n']} items."
    return f"{short:,} of {users:,} lists have fewer than {lists['n']} items."


def _refit(refit: Summary) -> str:
    text = (
        f"Lists come from the objective fitted again on all {refit['rows']:,} interactions; the "
        f"metrics are of the model fitted on {refit['evaluated_rows']:,}"
    )
    if refit.get("overlap") is None:
        return f"{text}."
    return f"{text}, whose lists share {refit['overlap']:.0%} of the first {refit['k']} items."


def words(name: str) -> str:
    """A name as people read it."""
    return name.replace("_", " ")


def explained(summaries: Summaries) -> dict[str, str]:
    """What was done with the values, the objective, and settings that follow from the data."""
    found = {}
    if train := summaries.get("train"):
        spec = train["spec"]
        found["Values"] = train["values"]
        found["Objective"] = (
            f"preset {train['preset']}, rank {spec['rank']}, {spec['iterations']} iterations, "
            f"unobserved weight {spec['unobserved_weight']:g}, regularization "
            f"{spec['regularization']:g}"
        )
    guessed = [text for summary in summaries.values() for text in summary.get("guessed", ())]
    if guessed:
        found["Guessed"] = "; ".join(guessed)
    return found


def advice(summaries: Summaries) -> list[str]:
    """What to try next, the most important first: at most three lines."""
    rules = (_unused_values, _behind_baseline, _rejected, _short, _unused_times)
    found = (rule(summaries) for rule in rules)
    return [text for text in found if text][:_MOST]


def _unused_values(summaries: Summaries) -> str:
    train = summaries.get("train", {})
    if " are not used: " not in train.get("values", ""):
        return ""
    low, high = summaries["ingest"]["values"] if "ingest" in summaries else (None, None)
    named = "The values" if low is None else f"The values ({low:g} to {high:g})"
    return (
        f"{named} are not used: objective.weighting=linear (ratings) or log (counts) weighs by "
        "them; objective.min_positive_value and evaluate.min_relevant_value set from which value "
        "on a row is a like."
    )


def _behind_baseline(summaries: Summaries) -> str:
    evaluated = summaries.get("evaluate")
    if evaluated is None:
        return ""
    chosen = delivered(evaluated)
    own, other = metric_of(evaluated, chosen, "ndcg"), best_baseline(evaluated)
    if own is None or other is None or own["value"] >= other["value"]:
        return ""
    paired = evaluated.get("paired")
    if paired and paired["baseline"] == other["model"] and not is_significant(paired):
        return ""
    name = "the model" if chosen == MODEL else words(chosen)
    return (
        f"{words(other['model']).capitalize()} is ahead of {name}: search settings with "
        "`recsys-spark tune`, or deliver another model or a blend of several (recommend.model, "
        "docs/models.md)."
    )


def _rejected(summaries: Summaries) -> str:
    ingest = summaries.get("ingest")
    if not ingest or ingest["rows_rejected"] <= _MANY_REJECTED * ingest["rows_read"]:
        return ""
    reason = max(ingest["reasons"], key=ingest["reasons"].get)
    return (
        f"{ingest['rows_rejected']:,} of {ingest['rows_read']:,} rows were rejected, most of them "
        f"as {reason}: `recsys-spark show rejects` lists them."
    )


def _short(summaries: Summaries) -> str:
    lists = summaries.get("recommend")
    if not lists or lists["short_lists"] <= _MANY_SHORT * lists["users"]:
        return ""
    return (
        f"{lists['short_lists']:,} of {lists['users']:,} lists are short: there are too few items "
        "left for them. recommend.backfill, recommend.policy and recommend.seen_days decide."
    )


def _unused_times(summaries: Summaries) -> str:
    ingest, split = summaries.get("ingest"), summaries.get("split")
    if not ingest or not split or split["method"] in (*BY_TIME, "predefined", "none"):
        return ""
    if len(ingest.get("histograms", {}).get("days", ())) < 2:  # of one day, or of none
        return ""
    return (
        "The rows have times and the split does not use them: split.method=global_time measures "
        "on the newest rows, which is closer to what the lists will meet."
    )


def split_sentence(split: Summary) -> str:
    """Sizes of the parts, and what of the test rows training knows or does not know."""
    parts = ", ".join(f"{rows:,} {part}" for part, rows in split["rows"].items() if rows)
    sentences = [f"Split {words(split['method'])}: {parts} rows."]
    cold = [f"{split['cold'][side]:,} {side}" for side in ("users", "items") if split["cold"][side]]
    if cold:
        sentences.append(f"Of the test rows, {' and '.join(cold)} are not in the training rows.")
    if split["in_both"]:
        sentences.append(f"Caution: {split['in_both']:,} pairs are in train and in test.")
    sentences += _older(split)
    if split["unused"]:
        sentences.append(f"{split['unused']:,} later rows are not used.")
    if split["dropped"]:
        sentences.append(f"{split['dropped']:,} rows of unknown users or items were dropped.")
    return " ".join(sentences)


def _older(split: Summary) -> Sequence[str]:
    older, tested = split["older_than_training"], split["rows"].get("test") or 1
    if not older:
        return ()
    if split["method"] in BY_TIME:
        return (f"Caution: {older:,} test rows are older than their user's training rows.",)
    return (
        f"The split does not follow time: {older / tested:.0%} of the test rows are older than "
        "the newest training row of their user.",
    )
