"""Messages name a setting by what their reader sets: a key, a parameter, or an argument."""

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import recsys_spark
from recsys_spark import WALS
from recsys_spark.als.execution_plan import Plan, Sizes
from recsys_spark.als.factors import Factors
from recsys_spark.als.half_sweep import settle
from recsys_spark.als.memory_estimate import refuse_what_cannot_fit
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.als.training_statistics import needed_rows
from recsys_spark.als.weighting import weigh
from recsys_spark.config import KEYS, Config
from recsys_spark.errors import ConfigError, RecsysError, setting, settings_named
from recsys_spark.kernels.als.spec import PRESETS, resolve_spec
from recsys_spark.kernels.als.value_use import ValueRange, describe_values
from recsys_spark.kernels.als.weights import ratio_warning
from recsys_spark.ml.params import PARAMETERS
from recsys_spark.pipeline.sessions import lazy_session
from recsys_spark.runtime.log import Log
from recsys_spark.settings import known_keys, load_config
from recsys_spark.topn.explanation_inputs import refuse_unexplained
from recsys_spark.topn.models import Basis, NeighbourModel
from recsys_spark.topn.rule_tables import seen_rows, since
from recsys_spark.topn.similar import similar

PACKAGE = Path(recsys_spark.__file__).parent
BELOW = ("kernels", "als", "topn", "neighbours", "evaluation", "ml")
# Those of the section `spark` are Spark's own, and the same for everyone.
SECTIONS = {key.rpartition(".")[0] for key in known_keys()} - {"", "spark"}
NAMED_KEY = re.compile(rf"(?<![\w.])(?:{'|'.join(sorted(SECTIONS))})\.[a-z_]+")


def sources(*packages):
    for package in packages:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def texts_of(tree):
    """Strings that are no docstrings, with their lines; x stands for what is put into one."""
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = list(ast.walk(tree))
    documented = [node.body[0] for node in nodes if isinstance(node, bodies)]
    skipped = {id(first.value) for first in documented if isinstance(first, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = (getattr(part, "value", "x") for part in node.values)
            yield node.lineno, "".join(part if isinstance(part, str) else "x" for part in parts)
        elif isinstance(getattr(node, "value", None), str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_keys_are_found_in_texts():
    tree = ast.parse("""
def f(key):
    \"split.method is no text here\"
    g("raise solver.blocks, or", f"set recommend.{key}: {key}.", "can be split.", "a.solver.b")
""")
    found = [NAMED_KEY.findall(text) for _, text in texts_of(tree)]
    assert sorted(keys for keys in found if keys) == [["recommend.x"], ["solver.blocks"]]


def test_packages_below_the_pipeline_name_no_key_of_the_configuration():
    found = {
        f"{path.relative_to(PACKAGE)}:{line}": text
        for path, tree in sources(*BELOW)
        for line, text in texts_of(tree)
        if NAMED_KEY.search(text)
    }
    assert found == {}


def settings_in(*packages):
    """The names that calls of `setting` have, where they are written there."""
    return {
        call.args[0].value
        for _, tree in sources(*packages)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "setting"
        and isinstance(call.args[0], ast.Constant)
    }


def test_every_setting_of_a_message_has_a_key():
    assert settings_in(*BELOW) <= set(KEYS)
    assert {key for key in KEYS.values() if "{" not in key} <= set(known_keys())
    assert KEYS["neighbours"] == "models.{model}.neighbours"


def test_every_setting_of_messages_of_training_has_a_parameter():
    of_evaluation = {"min_relevant_value"}  # which no method of the estimator names
    assert settings_in("kernels", "als") - of_evaluation <= set(PARAMETERS)
    assert set(PARAMETERS.values()) - {""} <= {param.name for param in WALS().params}


def test_names_hold_inside_and_in_this_thread_alone():
    names = {"rank": "objective.rank", "neighbours": "models.{model}.neighbours"}
    with settings_named(names):
        assert (setting("rank"), setting("nu")) == ("objective.rank", "nu")
        assert setting("neighbours", model="near") == "models.near.neighbours"
        with settings_named({"rank": "size"}):
            assert setting("rank") == "size"
        assert setting("rank") == "objective.rank"
        with ThreadPoolExecutor(1) as other:
            assert other.submit(setting, "rank").result() == "rank"
    assert setting("rank") == "rank"


def test_names_end_with_a_failure():
    @settings_named({"rank": "size"})
    def refuse():
        raise ConfigError(setting("rank"))

    with pytest.raises(ConfigError, match="size"):
        refuse()
    assert setting("rank") == "rank"


def test_commands_name_keys_until_their_session_is_closed():
    with lazy_session(Config(), Log([])):
        assert setting("regularization") == "objective.regularization"
        assert setting("broadcast_budget_bytes") == "solver.broadcast_budget_mb"
    assert setting("regularization") == "regularization"


# Settings by field, the message for a file or --set, and the message for a notebook.
REFUSED = [
    (
        {"rank": 0},
        "objective.rank is 0; it must be 1 or more.",
        "rank is 0; it must be 1 or more.",
    ),
    (
        {"regularization": -1.0},
        "objective.regularization is -1.0; it must be 0.0 or more.",
        "regParam is -1.0; it must be 0.0 or more.",
    ),
    (
        {"half_life_days": 0.0},
        "objective.half_life_days is 0.0; it must be above 0.",
        "halfLifeDays is 0.0; it must be above 0.",
    ),
    (
        {"bm25_b": 1.5},
        "objective.bm25_b is 1.5; it must be 1 or less.",
        "bm25B is 1.5; it must be 1 or less.",
    ),
    (
        {"preset": "explicit", "clip": [5.0, 1.0]},
        "objective.clip is [5.0, 1.0]; it must be [low, high].",
        "clip is [5.0, 1.0]; it must be [low, high].",
    ),
    (
        {"biases": "means"},
        "objective.biases is means, which needs ratings as targets and no weight on unobserved "
        "pairs: take objective.preset: mllib_explicit, or remove it.",
        "biases is means, which needs ratings as targets and no weight on unobserved pairs: take "
        "objective: mllib_explicit, or remove it.",
    ),
    (
        {"preset": "explicit", "biases": "learned", "nonnegative": True},
        "objective.biases: learned and objective.nonnegative exclude each other, since biases have "
        "signs; choose biases: means or damped, or remove one of the two.",
        "biases: learned and nonnegative exclude each other, since biases have signs; choose "
        "biases: means or damped, or remove one of the two.",
    ),
    (
        {"confidence": "total"},
        "objective.confidence: total and objective.target: weight exclude each other, since the "
        "target of a whole weight is no share of it; set target: unit, or remove one.",
        "confidence: total and target: weight exclude each other, since the target of a whole "
        "weight is no share of it; set target: unit, or remove one.",
    ),
    (
        {"clip": [1.0, 5.0]},
        "objective.clip limits predicted ratings, but the target is weight; remove it.",
        "clip limits predicted ratings, but the target is weight; remove it.",
    ),
    (
        {"preset": "explicit", "unobserved_weight": 0.1},
        "objective.unobserved_weight has no effect with objective.preset: explicit (every rating "
        "counts once, at its own value); remove it.",
        "unobservedWeight has no effect with objective: explicit (every rating counts once, at its "
        "own value); remove it.",
    ),
    (
        {"alpha": 2.0},
        "objective.alpha has no effect with objective.weighting: binary; remove it.",
        "alpha has no effect with weighting: binary; remove it.",
    ),
    (
        {"decay_reference": "2024-01-01"},
        "objective.decay_reference has no effect without objective.half_life_days; remove it.",
        "decayReference has no effect without halfLifeDays; remove it.",
    ),
    (
        {"preset": "tf_wals", "negative_alpha": 2.0},
        "objective.negative_alpha has no effect with objective.target: value; remove it.",
        "negativeAlpha has no effect with target: value; remove it.",
    ),
    (
        {"preset": "tf_wals", "unobserved_weight": 0.0, "item_unobserved_exponent": 0.5},
        "objective.item_unobserved_exponent has no effect with objective.unobserved_weight: 0; "
        "remove it.",
        "itemUnobservedExponent has no effect with unobservedWeight: 0; remove it.",
    ),
    (
        {"preset": "hu2008", "beta": 0.1},
        "objective.beta has no effect with objective.nu: 0 (the penalty does not grow with the "
        "row); remove it.",
        "beta has no effect with nu: 0 (the penalty does not grow with the row); remove it.",
    ),
    (
        {"regularization": 1.0, "user_regularization": 1.0, "item_regularization": 1.0},
        "objective.regularization has no effect beside a regularization of users and one of items; "
        "remove it.",
        "regParam has no effect beside a regularization of users and one of items; remove it.",
    ),
    (
        {"preset": "explicit", "bias_damping": 1.0},
        "objective.bias_damping has no effect with objective.biases: none; remove it.",
        "biasDamping has no effect with biases: none; remove it.",
    ),
    (
        {"preset": "mllib", "init_scale": 0.1},
        "objective.init_scale has no effect with objective.init: unit_norm; remove it.",
        "initScale has no effect with init: unit_norm; remove it.",
    ),
    (
        {"method": "cholesky", "cg_steps": 3},
        "solver.cg_steps has no effect with solver.method: cholesky; remove it.",
        "cgSteps has no effect with solver: cholesky; remove it.",
    ),
    (
        {"method": "subspace", "subspace_block": 0},
        "solver.subspace_block is 0; it must be 1 or more.",
        "subspaceBlock is 0; it must be 1 or more.",
    ),
    (
        {"method": "cg", "nonnegative": True},
        "solver.method: cg and objective.nonnegative exclude each other, since only the exact "
        "solver keeps factors at 0 or above; set solver.method: cholesky, or remove one of the "
        "two.",
        "solver: cg and nonnegative exclude each other, since only the exact solver keeps factors "
        "at 0 or above; set solver: cholesky, or remove one of the two.",
    ),
    (
        {"cg_steps": 5, "nonnegative": True},
        "solver.cg_steps has no effect with objective.nonnegative; remove it.",
        "cgSteps has no effect with nonnegative; remove it.",
    ),
]


@pytest.mark.parametrize(("given", "by_key", "by_parameter"), REFUSED)
def test_settings_are_refused_by_key_and_by_parameter(given, by_key, by_parameter):
    with pytest.raises(ConfigError) as configured:
        load_config(overrides=[f"{KEYS[name]}={value}" for name, value in given.items()])
    with pytest.raises(ConfigError) as estimated:
        WALS(**{PARAMETERS[name]: value for name, value in given.items()}).row_solver()
    assert (str(configured.value), str(estimated.value)) == (by_key, by_parameter)


# The configuration refuses these before, by the types of its keys.
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "als"}, "objective is 'als'; choose one of ials, hu2008"),
        ({"weighting": "square"}, "weighting is 'square'; choose one of binary, linear"),
        ({"solver": "qr"}, "solver is 'qr'; choose one of auto, cholesky"),
        ({"halfLifeDays": 1.0, "decayReference": "today"}, "decayReference is 'today'; write it"),
    ],
)
def test_choices_are_refused_by_parameter(given, message):
    with pytest.raises(ConfigError) as refused:
        WALS(**given).row_solver()
    assert str(refused.value).startswith(message)


LARGE = Sizes(pairs=10**9, users=10**7, items=10**6, sum_a=0, sum_b=0, slots=8)
SPEC = resolve_spec("ials")
UNLIMITED = 2**40


def cannot_fit(plan, sizes=LARGE, answer=0, worker=0):
    """Refuse with these limits of Spark's; 0: none."""
    limits = {"spark.driver.maxResultSize": answer, "spark.executor.pyspark.memory": worker}
    conf = SimpleNamespace(getSizeAsBytes=lambda name, _: limits[name])
    own = SimpleNamespace(_jsc=SimpleNamespace(sc=lambda: SimpleNamespace(conf=lambda: conf)))
    refuse_what_cannot_fit(sizes, SPEC, plan, own)


def settled(**record):
    nothing = {"left": None, "start": 0, "failed": None, "observed": 0.0, "shadowed": 0.0}
    settle([nothing | {"penalty": 0.0} | record], None, None, np.array([7]), None, None)


def started_from(width):
    some = Factors(np.arange(1), np.ones((1, width), np.float32))
    fit_factors(None, SPEC, Plan(), start=Factorization(some, some))


# What training refuses, without Spark: the action, and what each reader is referred to.
TRAINING = {
    "placement": (
        lambda: Plan(placement="ring"),
        "solver.placement is 'ring'",
        "placement is 'ring'",
    ),
    "budget": (
        lambda: cannot_fit(Plan()),
        "but solver.broadcast_budget_mb allows 2.0 GiB; raise it if driver and hosts have the "
        "memory, or lower objective.rank; with a folder that all hosts see "
        "(SparkContext.setCheckpointDir), solver.placement: sharded sends only what is needed.",
        "but a broadcast allows 2.0 GiB; lower rank; with a folder that all hosts see "
        "(SparkContext.setCheckpointDir), placement: sharded sends only what is needed.",
    ),
    "folder": (
        lambda: cannot_fit(Plan(placement="sharded")),
        "solver.placement: sharded keeps factors in files",
        "placement: sharded keeps factors in files",
    ),
    "answer of factors": (
        lambda: cannot_fit(Plan(broadcast_budget_bytes=UNLIMITED), answer=2**30),
        "or set solver.placement: sharded, or lower objective.rank.",
        "or set placement: sharded, or lower rank.",
    ),
    "answer of pairs": (
        lambda: cannot_fit(Plan(), Sizes(10**9, 10, 10, 0, 0, 8, on_driver=True), answer=2**30),
        "or set solver.placement: replicated.",
        "or set placement: replicated.",
    ),
    "answer of matrices": (
        lambda: cannot_fit(Plan(folder="/shared", placement="sharded"), answer=2**20),
        "or set fewer solver.blocks, or lower objective.rank.",
        "or set fewer numBlocks, or lower rank.",
    ),
    "worker": (
        lambda: cannot_fit(Plan(broadcast_budget_bytes=UNLIMITED), worker=2**10),
        "or set solver.blocks so that blocks are smaller.",
        "or set numBlocks so that blocks are smaller.",
    ),
    "width": (
        lambda: started_from(3),
        "set objective.rank to that of the earlier model",
        "set rank to that of the earlier model",
    ),
    "singular": (
        lambda: settled(failed=0),
        "raise objective.regularization, or leave out rows",
        "raise regParam, or leave out rows",
    ),
    "divergence": (
        lambda: settled(observed=np.inf),
        "raise objective.regularization, or look for extreme values",
        "raise regParam, or look for extreme values",
    ),
    "fold-in": (
        lambda: needed_rows(None, resolve_spec("irspack", weighting="bm25", nu_star=1.0), "user"),
        "since objective.weighting, objective.nu_star depends on them",
        "since weighting, nuStar depends on them",
    ),
}


def message_of(action, names):
    with settings_named(names), pytest.raises(RecsysError) as refused:
        action()
    return str(refused.value)


@pytest.mark.parametrize("name", TRAINING)
def test_training_refuses_by_key_and_by_parameter(name):
    action, by_key, by_parameter = TRAINING[name]
    assert by_key in message_of(action, KEYS)
    message = message_of(action, PARAMETERS)
    assert by_parameter in message
    assert not NAMED_KEY.search(message)


def test_decay_without_times_is_refused_by_key_and_by_parameter(spark):
    frame = spark.createDataFrame([(1, 2, 1.0)], "user int, item int, value double")
    messages = [
        message_of(lambda: weigh(frame, resolve_spec("ials", half_life_days=3.0)), names)
        for names in (KEYS, PARAMETERS)
    ]
    needs = "The rows have no time, which {} needs: name it ({}), complete it, or remove that"
    assert messages[0].startswith(
        needs.format("objective.half_life_days", "ingest.source.columns.timestamp")
    )
    assert messages[1].startswith(needs.format("halfLifeDays", "timestampCol"))


def test_warnings_of_weights_name_keys():
    with settings_named(KEYS):
        warning = ratio_warning(100.0, PRESETS["hu2008"])
        values = describe_values(SPEC, ValueRange(1.0, 5.0, 9))
    assert warning.endswith("raise objective.unobserved_weight or change objective.alpha.")
    assert values.endswith(
        "objective.weighting, objective.preset, objective.min_positive_value or, in evaluation "
        "alone, evaluate.min_relevant_value use them"
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: refuse_unexplained(resolve_spec("ials", nonnegative=True)),
            "recommend.explain does not know objective.nonnegative; set recommend.explain: 0, or",
        ),
        (
            lambda: Basis(None, None, 1).require_room(2**21, "the factors", "lower its rank"),
            "2 MB: lower its rank, or raise solver.broadcast_budget_mb above that.",
        ),
    ],
)
def test_lists_are_refused_by_key(action, message):
    assert message in message_of(action, KEYS)


def test_lists_of_large_tables_are_refused_by_key(spark):
    rows = spark.range(1).selectExpr(f"sequence(0, {2**17}) neighbours")
    near = NeighbourModel(rows)
    message = message_of(lambda: near.scorer("near", Basis(None, None, 1)), KEYS)
    assert "1 MB: lower models.near.neighbours, or raise solver.broadcast_budget_mb" in message
    tags = spark.range(1001).selectExpr("cast(id as int) id", "array(cast(id as string)) genres")
    factors = spark.range(1).selectExpr("cast(id as int) id", "array(1f) factors")
    message = message_of(lambda: similar(factors, None, None, 1, "item_id", tags, 0.5), KEYS)
    assert message.endswith("set recommend.similar_items.genre_weight: 0.")


def test_days_without_times_are_refused_by_key(spark):
    rows = spark.sql("select 1 item, cast(null as timestamp) timestamp")
    message = message_of(lambda: seen_rows(rows, 3.0), KEYS)
    assert message == "recommend.seen_days needs events with a time; remove it."
    message = message_of(lambda: since(rows, rows, 3.0, "new_days"), KEYS)
    assert message == "recommend.policy.new_items.days needs events with a time; remove it."
