"""Which objectives resolve, and which keys are refused with a cure."""

import json
from dataclasses import asdict

import pytest

from recsys_spark.errors import ConfigError
from recsys_spark.kernels.als.spec import PRESETS, resolve_spec, restored_spec


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_resolves_with_none_for_every_key(preset):
    assert resolve_spec(preset, rank=None, alpha=None, beta=None) == resolve_spec(preset)


def test_given_keys_replace_the_presets():
    spec = resolve_spec("mllib", rank=7, alpha=3.0, seed=0)
    assert (spec.rank, spec.alpha, spec.seed) == (7, 3.0, 0)
    assert spec.order == "items_first"


@pytest.mark.parametrize(
    ("given", "beta"),
    [
        ({}, 0.1),
        ({"unobserved_weight": 0.02}, 0.02),
        ({"beta": 0.0}, 0.0),
        ({"beta": 0.5}, 0.5),
        ({"nu": 0.0}, 0.0),
    ],
)
def test_ials_counts_unobserved_pairs_at_their_weight_by_default(given, beta):
    assert resolve_spec("ials", **given).beta == beta


def test_irspack_counts_them_too_and_nu_star_needs_them():
    assert resolve_spec("irspack").beta == 1.0
    assert resolve_spec("irspack", nu=0.0).beta == 0.0
    assert resolve_spec("irspack", nu=0.0, nu_star=1.0).beta == 1.0


@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {"ials", "irspack"}))
def test_other_presets_do_not_count_unobserved_pairs(preset):
    assert resolve_spec(preset).beta == 0.0


def test_an_unknown_preset_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"'als'; choose one of ials, hu2008, mllib, mllib_exp"):
        resolve_spec("als")


def test_an_unknown_key_is_refused():
    with pytest.raises(TypeError, match="lambda_"):
        resolve_spec("ials", lambda_=0.1)


@pytest.mark.parametrize(
    ("key", "value", "cure"),
    [
        ("rank", 0, "must be 1 or more"),
        ("iterations", 0, "must be 1 or more"),
        ("unobserved_weight", -0.1, "must be 0.0 or more"),
        ("regularization", -1.0, "must be 0.0 or more"),
        ("regularization", float("nan"), "must be 0.0 or more"),
        ("regularization", float("inf"), "must be 0.0 or more"),
        ("nu", -1.0, "must be 0.0 or more"),
        ("beta", -1.0, "must be 0.0 or more"),
        ("init_scale", 0.0, "must be above 0"),
        ("init_scale", -0.1, "must be above 0"),
        ("user_regularization", -1.0, "must be 0.0 or more"),
        ("negative_alpha", -1.0, "must be 0.0 or more"),
        ("nu_star", -1.0, "must be 0.0 or more"),
        ("exponent", -0.5, "must be 0.0 or more"),
        ("item_frequency_exponent", float("-inf"), "must be finite"),
        ("user_unobserved_exponent", float("nan"), "must be finite"),
        ("half_life_days", 0.0, "must be above 0"),
        ("bm25_b", 1.5, "must be 1 or less"),
    ],
)
def test_out_of_range_values_are_refused(key, value, cure):
    with pytest.raises(ConfigError, match=rf"^{key} is {value}; it {cure}"):
        resolve_spec("ials", **{key: value})


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_epsilon_must_be_above_zero(epsilon):
    with pytest.raises(ConfigError, match=r"^epsilon .* must be above 0"):
        resolve_spec("ials", weighting="log", epsilon=epsilon)


@pytest.mark.parametrize(
    ("preset", "given", "key", "reason"),
    [
        ("ials", {"alpha": 2.0}, "alpha", "weighting: binary"),
        ("ials", {"epsilon": 2.0}, "epsilon", "weighting: binary"),
        ("hu2008", {"epsilon": 2.0}, "epsilon", "weighting: linear"),
        ("hu2008", {"beta": 0.1}, "beta", "nu: 0"),
        ("hu2008", {"counted": "positive"}, "counted", "nu: 0"),
        ("ials", {"nu": 0.0, "beta": 0.1}, "beta", "nu: 0"),
        ("mllib", {"init_scale": 0.1}, "init_scale", "init: unit_norm"),
        ("explicit", {"unobserved_weight": 0.1}, "unobserved_weight", "preset: explicit"),
        ("explicit", {"weighting": "linear"}, "weighting", "preset: explicit"),
        ("explicit", {"alpha": 2.0}, "alpha", "preset: explicit"),
        ("lenskit_explicit", {"weighting": "log"}, "weighting", "preset: lenskit_explicit"),
        ("ials", {"exponent": 2.0}, "exponent", "weighting: binary"),
        ("ials", {"weighting": "tfidf", "bm25_b": 0.1}, "bm25_b", "weighting: tfidf"),
        ("ials", {"decay_reference": "2024-01-01"}, "decay_reference", "without half_life_days"),
        ("tf_wals", {"negative_alpha": 2.0}, "negative_alpha", "target: value"),
        ("explicit", {"min_positive_value": 4.0}, "min_positive_value", "target: value"),
        ("hu2008", {"unobserved_weight": 0.0, "confidence": "total"}, "confidence", "weight: 0"),
        (
            "explicit",
            {"item_unobserved_exponent": 0.5},
            "item_unobserved_exponent",
            "unobserved_weight: 0",
        ),
        (
            "ials",
            {"regularization": 1.0, "user_regularization": 1.0, "item_regularization": 1.0},
            "regularization",
            "one of items",
        ),
        ("explicit", {"bias_damping": 1.0}, "bias_damping", "biases: none"),
    ],
)
def test_keys_without_effect_are_refused(preset, given, key, reason):
    with pytest.raises(ConfigError, match=rf"^{key} has no effect .*{reason}.*remove it"):
        resolve_spec(preset, **given)


def test_the_same_keys_are_accepted_where_they_have_an_effect():
    assert resolve_spec("ials", weighting="log", alpha=2.0, epsilon=3.0).epsilon == 3.0
    assert resolve_spec("hu2008", nu=1.0, beta=0.1, counted="positive").beta == 0.1
    assert resolve_spec("mllib", init="normal", init_scale=0.2).init_scale == 0.2


def test_real_valued_targets_may_weigh_unobserved_cells():
    spec = resolve_spec("hu2008", target="value", unobserved_weight=1.0, alpha=0.0)
    assert (spec.unobserved_weight, spec.alpha, spec.explicit) == (1.0, 0.0, True)


@pytest.mark.parametrize(
    ("preset", "given"),
    [
        ("irspack", {}),
        ("ials", {"weighting": "log"}),
        ("implicit", {}),
        ("hu2008", {"unobserved_weight": 0.0}),
        ("tf_wals", {"unobserved_weight": 0.0}),
        ("tf_wals", {"confidence": "total"}),
    ],
)
def test_a_scale_of_0_that_leaves_no_weight_is_refused(preset, given):
    with pytest.raises(ConfigError, match=r"^alpha is 0, .*every score would be 0; set it above 0"):
        resolve_spec(preset, alpha=0.0, **given)


def test_a_scale_of_0_is_accepted_where_unobserved_pairs_weigh_the_same():
    assert resolve_spec("hu2008", alpha=0.0).unobserved_weight == 1.0


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"weighting": "square"}, "'square'; choose one of binary, linear, log, power"),
        ({"order": "users"}, "users_first, items_first"),
        ({"half_life_days": 1.0, "decay_reference": "yesterday"}, "write it as 2024-05-31"),
        ({"target": "value", "clip": (5.0, 1.0)}, r"it must be \[low, high\]"),
        ({"target": "value", "clip": (5.0,)}, r"it must be \[low, high\]"),
    ],
)
def test_malformed_values_are_refused(given, cure):
    with pytest.raises(ConfigError, match=cure):
        resolve_spec("ials", **given)


def test_explicit_is_another_name_of_mllib_explicit():
    assert resolve_spec("explicit") == resolve_spec("mllib_explicit")


def test_each_side_has_its_own_strength_and_exponents():
    spec = resolve_spec("ials", regularization=0.1, user_regularization=0.2)
    assert (spec.strength("user"), spec.strength("item")) == (0.2, 0.1)
    spec = resolve_spec("ials", item_frequency_exponent=-1.0, user_unobserved_exponent=0.5)
    assert (spec.frequency_exponent("user"), spec.frequency_exponent("item")) == (0.0, -1.0)
    assert (spec.unobserved_exponent("user"), spec.unobserved_exponent("item")) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("preset", "given", "cure"),
    [
        ("ials", {"biases": "means"}, "mllib_explicit"),
        ("tf_wals", {"biases": "learned"}, "no weight on unobserved pairs"),
        ("explicit", {"biases": "learned", "nonnegative": True}, "means or damped"),
        ("ials", {"clip": (1.0, 5.0)}, "target is weight; remove it"),
        ("ials", {"confidence": "total"}, "set target: unit"),
    ],
)
def test_contradictions_are_refused_with_the_cure(preset, given, cure):
    with pytest.raises(ConfigError, match=cure):
        resolve_spec(preset, **given)


def test_a_spec_is_restored_from_json():
    for given in ({}, {"clip": [1.0, 5.0], "half_life_days": 3.0}):
        spec = resolve_spec("explicit", **given)
        assert restored_spec(json.loads(json.dumps(asdict(spec)))) == spec


def test_ratings_may_have_biases_and_a_range():
    spec = resolve_spec("explicit", biases="damped", bias_damping=10.0, clip=[1.0, 5.0])
    assert (spec.biases, spec.bias_damping, spec.clip) == ("damped", 10.0, (1.0, 5.0))
    assert resolve_spec("lenskit_explicit").biases == "damped"
