"""From rated pairs to the engine's weights: a and b of each row of the training data.

With r the row's value, n the number of rows of its user or item, and d its age in days:

    confidence c = form(|r|) * user factor * item factor * 2^(-d / half-life) * weight
    a = c, or c - w0 where the confidence is total
    b = (w0 + a) * target

The forms, and when each is of use, are in docs/objectives.md. Statistics of users and items are
computed and joined only for objectives that ask for them.
"""

from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsys_spark.errors import ContractError, setting
from recsys_spark.kernels.als.spec import SIDES, WalsSpec

OVER_ITEMS = ("bm25", "tfidf")
_MICROS_A_DAY = 86_400e6


def weigh(
    ratings: DataFrame, spec: WalsSpec, context: DataFrame | None = None, folded: str | None = None
) -> DataFrame:
    """Columns user, item (long), a, b (float): one row for each of `ratings`, duplicates too.

    a is null where the value, or what follows from it, is null, NaN or infinite.

    ratings: user, item, value; timestamp, if weights decay (a time, or seconds since 1970);
    optionally weight, which multiplies the confidence, target, which replaces the objective's, and
    baseline, which is subtracted from the targets where those are values.
    context: rows of the same columns from which frequencies, their means and the latest time are
    taken, with every id of `ratings`; None: from `ratings`. folded: the side of `ratings` that is
    folded into a model whose training rows are the context: that side's own frequencies, of ids
    known and new, are those in `ratings`, and all the rest is as it was in training.

    A value of 0 or below, or below min_positive_value, is an observed dislike where targets are not
    the values: its confidence follows from |r| and its target is 0, as in MLlib and implicit.

    Raises ContractError for a missing time, a negative or missing weight, and a missing or infinite
    target.
    """
    ratings = ratings.withColumn("value", F.col("value").cast("double"))
    known = ratings if context is None else context
    _require_own(ratings)
    weighed = _join_sides(ratings, known, spec, folded)
    w0 = _unobserved(spec)
    c = _confidence(spec) * _decay(ratings, known, spec)
    if "weight" in ratings.columns:
        c = c * F.col("weight")
    a = c - w0 if spec.confidence == "total" else c
    b = _right_weight(a, w0, spec, ratings.columns)
    usable = ~_not_finite("value") & ~_not_finite(b)
    return weighed.select(
        F.col("user").cast("long"),
        F.col("item").cast("long"),
        F.when(usable, a).cast("float").alias("a"),
        b.cast("float").alias("b"),
    )


def _unobserved(spec: WalsSpec) -> Column:
    w0 = F.lit(spec.unobserved_weight)
    for side in SIDES:
        if spec.unobserved_exponent(side):
            w0 = w0 * F.col(f"{side}_unobserved")
    return w0


def _right_weight(a: Column, w0: Column, spec: WalsSpec, columns: list[str]) -> Column:
    if "target" in columns or spec.target == "value":
        target = F.col("target" if "target" in columns else "value")
        return (w0 + a) * (target - F.col("baseline") if "baseline" in columns else target)
    liked = w0 + a if spec.target == "unit" else a
    return F.when(_liked(spec), liked).otherwise(0.0)


def _liked(spec: WalsSpec) -> Column:
    value = F.col("value")
    return value > 0 if spec.min_positive_value is None else value >= spec.min_positive_value


def _confidence(spec: WalsSpec) -> Column:
    """The form of |r| times its scale and the factors by frequency."""
    form = _form(spec)
    if spec.weighting != "binary":
        form = form * spec.alpha
    if spec.negative_alpha is not None:
        form = F.when(_liked(spec), form).otherwise(_form(spec) * spec.negative_alpha)
    for side in SIDES:
        if spec.frequency_exponent(side):
            form = form * F.col(f"{side}_factor")
    return form


def _form(spec: WalsSpec) -> Column:
    """The confidence of |r| before any scale."""
    r = F.abs(F.col("value"))
    if spec.weighting == "linear":
        return r
    if spec.weighting == "log":
        return F.log1p(r / spec.epsilon)
    if spec.weighting == "power":
        return F.pow(r, F.lit(spec.exponent))
    if spec.weighting == "tfidf":
        return F.sqrt(r) * F.col("user_idf")
    if spec.weighting == "bm25":
        length = 1.0 - spec.bm25_b + spec.bm25_b * F.col("item_length")
        level = r * (spec.bm25_k1 + 1) / (spec.bm25_k1 * length + r)
        return F.when(r > 0, level * F.col("user_idf")).otherwise(0.0)
    return F.lit(1.0)


def _join_sides(
    ratings: DataFrame, known: DataFrame, spec: WalsSpec, folded: str | None
) -> DataFrame:
    """The rows beside the statistics of their user and item, where the objective needs them."""
    both = spec.weighting in OVER_ITEMS
    counts = {
        side: _count(known, side)
        for side in SIDES
        if both or spec.unobserved_exponent(side) or spec.frequency_exponent(side)
    }
    means = {side: _means(frame, side, spec) for side, frame in counts.items()}
    items = means["item"]["ids"] if both else 1
    joined = ratings
    for side, frame in counts.items():  # broadcast by Spark where small; users may be many
        own = _count(ratings, side) if side == folded else frame
        joined = joined.join(_statistics(own, means[side], items, side, spec), side)
    return joined


def _count(known: DataFrame, side: str) -> DataFrame:
    # Sums in double: what their order changes is lost in the single precision of a and b.
    length = F.sum(F.abs("value")).alias("length")
    return known.groupBy(side).agg(F.count("*").cast("double").alias("n"), length)


def _means(counts: DataFrame, side: str, spec: WalsSpec) -> dict[str, float]:
    """ids: how many; factor: mean of n^exponent over pairs; unobserved: over ids; mean length."""
    n = F.col("n")
    row = counts.agg(
        F.count("*").cast("double").alias("ids"),
        (F.sum(n * F.pow(n, F.lit(spec.frequency_exponent(side)))) / F.sum(n)).alias("factor"),
        F.avg(F.pow(n, F.lit(spec.unobserved_exponent(side)))).alias("unobserved"),
        F.avg("length").alias("length"),
    ).first()
    assert row is not None
    return {name: value or 1.0 for name, value in row.asDict().items()}


def _statistics(
    counts: DataFrame, means: dict[str, float], items: float, side: str, spec: WalsSpec
) -> DataFrame:
    n = F.col("n")
    factor = F.pow(n, F.lit(spec.frequency_exponent(side))) / means["factor"]
    unobserved = F.pow(n, F.lit(spec.unobserved_exponent(side))) / means["unobserved"]
    return counts.select(
        side,
        factor.alias(f"{side}_factor"),
        unobserved.alias(f"{side}_unobserved"),
        (F.col("length") / means["length"]).alias(f"{side}_length"),
        F.greatest(F.log(items / (n + 1)), F.lit(0.0)).alias(f"{side}_idf"),
    )


def _decay(ratings: DataFrame, known: DataFrame, spec: WalsSpec) -> Column:
    """2^(-age / half-life); rows after the reference count as new."""
    if spec.half_life_days is None:
        return F.lit(1.0)
    if "timestamp" not in ratings.columns:
        raise ContractError(f"The rows have no time, {_decay_needs()}")
    _require(ratings, _days().isNull(), f"have no time, {_decay_needs()}")
    if spec.decay_reference is None:
        newest = known.agg(F.max(_days())).first()
        reference = newest[0] if newest is not None else None
    else:
        reference = _day_of(spec.decay_reference)
    age = F.greatest(F.lit(reference) - _days(), F.lit(0.0))
    return F.pow(F.lit(0.5), age / spec.half_life_days)


def _decay_needs() -> str:
    return (
        f"which {setting('half_life_days')} needs: name it ({setting('timestamp')}), complete it, "
        "or remove that setting."
    )


def _days() -> Column:
    """The row's time in days since 1970; a number is read as seconds."""
    return F.unix_micros(F.col("timestamp").cast("timestamp")) / _MICROS_A_DAY


def _day_of(text: str) -> float:
    time = datetime.fromisoformat(text)
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return utc.timestamp() * 1e6 / _MICROS_A_DAY


def _require_own(ratings: DataFrame) -> None:
    """Refuse weights and targets that the user brings and that cannot be used."""
    if "weight" in ratings.columns:
        bad = _not_finite("weight") | (F.col("weight") < 0)
        _require(ratings, bad, "have a weight that is missing, infinite or below 0; correct them.")
    if "target" in ratings.columns:
        bad = _not_finite("target")
        _require(ratings, bad, "have a target that is missing or infinite; correct them.")


def _require(ratings: DataFrame, bad: Column, complaint: str) -> None:
    row = ratings.agg(F.count("*").alias("rows"), F.count_if(bad).alias("bad")).first()
    assert row is not None
    if row["bad"]:
        raise ContractError(f"{row['bad']} of {row['rows']} training rows {complaint}")


def _not_finite(name: str | Column) -> Column:
    value = F.col(name) if isinstance(name, str) else name
    return value.isNull() | F.isnan(value) | value.isin(float("inf"), float("-inf"))
