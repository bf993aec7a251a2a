"""What explanations are made of: the model, and what users have with its weights."""

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsys_spark.als.factors import read_factors
from recsys_spark.als.training_statistics import training_counts
from recsys_spark.als.weighting import weigh
from recsys_spark.errors import ConfigError, setting
from recsys_spark.kernels.als.solve import gram
from recsys_spark.kernels.als.spec import WalsSpec
from recsys_spark.kernels.als.weights import unobserved_weights
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.topn.catalog import Catalog
from recsys_spark.topn.explanations import Explainer


def make_explainer(
    catalog: Catalog, item_factors: DataFrame, training: DataFrame, spec: WalsSpec
) -> Explainer:
    """For lists of this catalog, which has these factors (columns id, factors) as trained.

    training: the rows that they were trained on, columns user, item. Raises ConfigError for
    objectives whose scores are no sum over the user's items, or need more than those.
    """
    refuse_unexplained(spec)
    trained, weights = read_factors(item_factors).arrays(), None
    if spec.item_unobserved_exponent:
        counts = training_counts(training, trained.ids, "user")["item"]
        weights = unobserved_weights(counts, spec.item_unobserved_exponent).astype(np.float32)
    with single_threaded():
        everything = spec.unobserved_weight * gram(trained.vectors, weights)
    return Explainer(catalog.factors, everything, spec, len(trained.ids))


def refuse_unexplained(spec: WalsSpec) -> None:
    """Raise ConfigError, naming the setting, for an objective that is not explained."""
    reasons = {
        "biases": spec.biases != "none",
        "nonnegative": spec.nonnegative,
        "nu_star": spec.nu_star is not None,
        "user_unobserved_exponent": spec.user_unobserved_exponent != 0,
    }
    for key, refused in reasons.items():
        if refused:
            raise ConfigError(
                f"{setting('reasons')} does not know {setting(key)}; set {setting('reasons')}: 0, "
                "or train without it."
            )


def weighted_history(
    rows: DataFrame, spec: WalsSpec, training: DataFrame | None = None
) -> DataFrame:
    """Columns user, known (item ids), a, b (arrays, in the order of the ids): what users have.

    rows: as `weigh` takes them; of users who were folded in, training is what the model interacted.
    """
    weighed = weigh(rows, spec, training, None if training is None else "user")
    pairs = F.sort_array(F.collect_list(F.struct("item", "a", "b")))
    lists = weighed.groupBy("user").agg(pairs.alias("pairs"))
    columns = (F.col(f"pairs.{name}").alias(name) for name in ("a", "b"))
    return lists.select("user", F.col("pairs.item").alias("known"), *columns)
