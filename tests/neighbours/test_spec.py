"""Settings that mean nothing are refused, with what to do instead."""

import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.neighbours.spec import ContentKnn, Ease, ItemKnn, RP3Beta, UserKnn


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        (ItemKnn, {"similarity": "euclid"}, "choose one of cosine, jaccard, bm25, tfidf"),
        (UserKnn, {"weights": "ratings"}, "choose one of binary, values"),
        (UserKnn, {"centring": "mean"}, "choose one of none, item_mean, user_mean"),
        (ItemKnn, {"neighbours": 0}, "neighbours is 0; it must be 1 or more"),
        (ItemKnn, {"shrinkage": -1.0}, "shrinkage is -1.0; it must be 0.0 or more"),
        (ItemKnn, {"shrinkage": float("nan")}, "shrinkage is nan"),
        (ItemKnn, {"similarity": "bm25", "shrinkage": 1.0}, "no effect with similarity: bm25"),
        (ItemKnn, {"centring": "item_mean"}, "set weights: values, or centring: none"),
        (
            ItemKnn,
            {"similarity": "jaccard", "weights": "values", "centring": "user_mean"},
            "set similarity: cosine, or centring: none",
        ),
        (RP3Beta, {"alpha": float("inf")}, "alpha is inf; it must be finite"),
        (RP3Beta, {"user_alpha": float("nan")}, "user_alpha is nan; it must be finite"),
        (RP3Beta, {"weights": "none"}, "choose one of binary, values"),
        (RP3Beta, {"neighbours": 0}, "neighbours is 0"),
        (Ease, {"regularization": -0.5}, "regularization is -0.5; it must be 0.0 or more"),
        (Ease, {"neighbours": 0}, "neighbours is 0"),
        (ContentKnn, {"neighbours": 0}, "neighbours is 0"),
    ],
)
def test_settings_out_of_range_are_refused(kind, keys, message):
    with pytest.raises(ConfigError, match=message):
        kind(**keys)


def test_defaults():
    assert (ItemKnn().neighbours, RP3Beta().neighbours, Ease().neighbours) == (50, 300, None)
    assert (RP3Beta().alpha, RP3Beta().user_alpha, RP3Beta().beta) == (1.0, None, 0.5)
    assert Ease().regularization == 200.0
