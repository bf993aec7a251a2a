"""Every metric that ranx has too, user by user."""

import random

import pytest

from recsys_spark.evaluation import measure_ranking

# Of ranx's own kernels, which are compiled at their first use.
pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaWarning")

DRAW = random.Random(31)
USERS = [f"u{at}" for at in range(120)]
TRUTH = {
    user: {f"i{item}": DRAW.randint(1, 5) for item in DRAW.sample(range(60), DRAW.randint(1, 12))}
    for user in USERS
}
LISTS = {user: [f"i{item}" for item in DRAW.sample(range(60), 20)] for user in USERS}
SAME = {
    "precision": "precision",
    "recall": "recall",
    "f1": "f1",
    "hit_rate": "hit_rate",
    "mrr": "mrr",
    "map": "map",
    "ndcg_linear": "ndcg",
    "ndcg_exponential": "ndcg_burges",
}
CUTOFFS = [1, 5, 20]


@pytest.fixture(scope="module")
def ours(spark):
    lists = spark.createDataFrame(
        [(user, [(item, rank) for rank, item in enumerate(items, start=1)])
         for user, items in LISTS.items()],
        "user_id string, recommendations array<struct<item_id: string, rank: int>>",
    )  # fmt: skip
    truth = spark.createDataFrame(
        [
            (user, item, float(gain))
            for user, gains in TRUTH.items()
            for item, gain in gains.items()
        ],
        "user_id string, item_id string, value double",
    )
    rows = measure_ranking(lists, truth, CUTOFFS).collect()
    return {(row["user_id"], row["k"]): row for row in rows}


def their_values(name, truth):
    """By user. Scores fall with the rank, so that their order is that of the lists."""
    import ranx  # seconds, which others that collect these tests do not pay

    scores = [1 / rank for rank in range(1, 21)]
    run = {user: dict(zip(items, scores, strict=True)) for user, items in LISTS.items()}
    qrels, ranked = ranx.Qrels(truth), ranx.Run(run)
    ranx.evaluate(qrels, ranked, [name], return_mean=False, threads=1)
    return ranked.scores[name]


@pytest.mark.parametrize("name", SAME)
def test_values_agree(ours, name):
    for k in CUTOFFS:
        expected = their_values(f"{SAME[name]}@{k}", TRUTH)
        for user in USERS:
            assert ours[user, k][name] == pytest.approx(expected[user], abs=1e-9)


@pytest.mark.parametrize(("name", "theirs"), [("rbp", "rbp.80"), ("r_precision", "r-precision")])
def test_values_without_a_cut_off_agree(ours, name, theirs):
    """Ours at 20, as long as the lists and no shorter than the truth; their rbp adds up gains."""
    expected = their_values(
        theirs, {user: dict.fromkeys(items, 1) for user, items in TRUTH.items()}
    )
    for user in USERS:
        assert ours[user, 20][name] == pytest.approx(expected[user], abs=1e-9)
