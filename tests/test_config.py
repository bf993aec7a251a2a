"""The configuration: its documented defaults, its order of precedence, and its refusals."""

import re
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from recsys_spark import yaml12
from recsys_spark.config import MASK, Config, mask
from recsys_spark.errors import ConfigError, ExitCode
from recsys_spark.kernels.als.spec import resolve_spec
from recsys_spark.kernels.als.value_use import ValueRange, describe_values
from recsys_spark.pipeline.stage_graph import fingerprint
from recsys_spark.settings import _OF_TYPE, _RANGES, documented_defaults, known_keys, load_config

WEIGHTS = {"on": 3.0, "1.0": 1.0, "007": 2.0, "null": 4.0}
FILTERED = ["NO", "on", 1.5, 2, True, "2024-01-01", "true", "7"]
CONF = Path(__file__).parents[1] / "conf"


def refusal(*overrides, sources=()):
    """The message with which these settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(sources, overrides)
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    return str(caught.value)


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_base_yaml_is_the_documented_defaults():
    assert (CONF / "base.yaml").read_text(encoding="utf-8") == documented_defaults()


def test_documented_defaults_load_to_the_defaults():
    assert Config.model_validate(yaml.safe_load(documented_defaults())) == Config()
    assert load_config([CONF / "base.yaml"]) == Config()


def test_documented_defaults_explain_every_key():
    lines = [line for line in documented_defaults().splitlines() if ": " in line and line[0] != "#"]
    assert len(lines) == len(list(known_keys()))
    assert all("  # " in line and line.rstrip()[-1] in ".)" for line in lines)


def test_commands_of_hints_carry_the_root():
    assert Config().command("status") == "recsys-spark status"
    config = load_config(overrides=["paths.root=my shop"])
    assert config.command("show rejects") == "recsys-spark show rejects --root 'my shop'"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_of_the_project_loads(path):
    load_config([path])


def test_config_without_file_and_overrides_has_the_defaults():
    assert load_config() == Config()


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("split.methd", "split.method"),
        ("recomend.n", "recommend"),
        ("objective.regularisation", "objective.regularization"),
        ("ingest.source.seperator", "ingest.source.separator"),
        ("ingest.source.columns.users", "ingest.source.columns.user"),
        ("ingest.separator", "ingest.source.separator"),
        ("rank", "objective.rank"),
        ("objective.factors", "objective.rank"),
        ("objective.regParam", "objective.regularization"),
        ("solver.layout", "solver.placement"),
        ("split.given", "split.predefined"),
        ("recommend.mark_seen", "recommend.last_interaction"),
        ("recommend.policy.new_items.places", "recommend.policy.new_items.slots"),
        ("evaluate.max_multiplications", "evaluate.max_pair_products"),
    ],
)
def test_an_unknown_key_names_the_nearest(unknown, nearest):
    assert f"the nearest valid key is {nearest}." in refusal(f"{unknown}=1")


def test_an_unknown_key_like_no_other_says_where_all_are_listed():
    assert "Unknown key zzz; `recsys-spark config --defaults` lists all keys." in refusal("zzz=1")


def test_all_problems_are_named_at_once():
    message = refusal("recommend.n=0", "evaluate.split=train", "paths.rot=x")
    for key in ("recommend.n is 0; ", "evaluate.split is train; ", "Unknown key paths.rot"):
        assert key in message


@pytest.mark.parametrize(
    ("override", "section", "key", "expected"),
    [
        ("recommend.n=5", "recommend", "n", 5),
        ("recommend.backfill=false", "recommend", "backfill", False),
        ("evaluate.k=[20, 5, 5]", "evaluate", "k", [5, 20]),
        ("objective.regularization=1e-3", "objective", "regularization", 0.001),
        ("objective.rank=null", "objective", "rank", None),
        ("paths.root=s3a://bucket/folder?a=b", "paths", "root", "s3a://bucket/folder?a=b"),
        ("paths.root=2024", "paths", "root", "2024"),
        (
            "spark.conf.spark.sql.ansi.enabled=true",
            "spark",
            "conf",
            {"spark.sql.ansi.enabled": "true"},
        ),
    ],
)
def test_overrides_are_typed(override, section, key, expected):
    value = getattr(getattr(load_config(overrides=[override]), section), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["::", "|", ",", ";", "a: b"])
def test_overrides_take_plain_text_that_yaml_would_read_otherwise(text):
    config = load_config(overrides=[f"items.genre_separator={text}"])
    assert config.items.genre_separator == text


@pytest.mark.parametrize("override", ["recommend.n", "=5", "recommend.n=[1"])
def test_malformed_overrides_are_refused(override):
    assert refusal(override).startswith("--set")


@pytest.mark.parametrize("override", ["recommend.n=ten", "recommend.n=1.5", "recommend=5"])
def test_wrong_types_are_refused_with_the_key_and_the_value(override):
    key, value = override.split("=")
    assert refusal(override).startswith(f"{key} is {value}; it must be ")


WRITTEN = [
    # what stands under a key: of a text, of a number, of either
    ("NO", "paths.root", "NO"),
    ("on", "ingest.source.columns.user", "on"),
    ("yes", "items.columns.title", "yes"),
    ("true", "paths.root", "true"),
    ("True", "spark.conf.spark.x", "True"),
    ("2024-01-01", "ingest.source.path", "2024-01-01"),
    ("2024-01-01T10:00:00Z", "paths.root", "2024-01-01T10:00:00Z"),
    ("12:30:00", "paths.root", "12:30:00"),
    ("007", "ingest.source.path", "007"),
    ("1_000", "ingest.source.path", "1_000"),
    ("1.10", "spark.conf.spark.x.version", "1.10"),
    ("1e3", "paths.root", "1e3"),
    ("0x1F", "paths.root", "0x1F"),
    ("+1", "paths.root", "+1"),
    (".inf", "paths.root", ".inf"),
    ("=", "paths.root", "="),
    ("<<", "paths.root", "<<"),
    ("[a].csv", "ingest.source.path", "[a].csv"),
    ("null", "ingest.source.path", None),
    ("~", "ingest.source.path", None),
    ("'null'", "ingest.source.path", "null"),
    ("'007'", "ingest.source.path", "007"),
    ("1e3", "recommend.n", 1000),
    ("0x1F", "recommend.n", 31),
    ("0o17", "recommend.n", 15),
    ("010", "recommend.n", 10),
    ("'5'", "recommend.n", 5),
    ("1e-3", "objective.regularization", 0.001),
    ("+.5", "objective.regularization", 0.5),
    ("1.", "objective.regularization", 1.0),
    ("TRUE", "recommend.backfill", True),
    ("False", "recommend.backfill", False),
    ("2024-05-31", "ingest.since", datetime(2024, 5, 31)),
    ("0", "ingest.source.columns.user", 0),
    ("'0'", "ingest.source.columns.user", "0"),
    ("[NO, on, 1.5, 2, true, 2024-01-01, 'true', '7']", "filter", FILTERED),
    ("true", "ingest.source.columns.user", "true"),
    ("1.10", "ingest.source.columns.user", "1.10"),
    ("{on: 3, 1.0: 1.0, 007: 2, null: 4}", "event_weights", WEIGHTS),
]


def found(config, key):
    """What stands under a dotted key."""
    if key == "filter":
        return config.ingest.filters[0].value
    if key == "event_weights":
        return config.ingest.event_weights
    value, parts = config.model_dump(), key.split(".")
    if parts[:2] == ["spark", "conf"]:
        parts = ["spark", "conf", ".".join(parts[2:])]
    for part in parts:
        value = value[part]
    return value


def as_override(text, key):
    if key == "filter":
        return f"ingest.filters=[{{column: a, op: in, value: {text}}}]"
    if key == "event_weights":
        return f"ingest={{source: {{columns: {{event: e}}}}, event_weights: {text}}}"
    return f"{key}={text}"


def as_file(text, key):
    """The same as a line of a file."""
    if key in ("filter", "event_weights"):
        name, _, value = as_override(text, key).partition("=")
    else:
        name, value = key, text
    *sections, last = name.split(".")
    if sections[:2] == ["spark", "conf"]:
        sections, last = ["spark", "conf"], ".".join([*sections[2:], last])
    value = f"'{value}'" if value[:1] == "[" and value[-1:] != "]" else value
    inner = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(sections))
    return f"{inner}{'  ' * len(sections)}{last}: {value}\n"


@pytest.mark.parametrize(("text", "key", "expected"), WRITTEN)
def test_scalars_are_as_written_or_what_the_core_schema_makes_of_them(
    text, key, expected, tmp_path
):
    file = written(tmp_path, "a.yaml", as_file(text, key))
    overridden = load_config(overrides=[as_override(text, key)])
    for config in (overridden, load_config([file])):
        assert found(config, key) == expected
        assert type(found(config, key)) is type(expected)
    kept = written(tmp_path, "b.yaml", yaml12.dump(overridden.model_dump(mode="json")))
    assert load_config([kept]) == overridden, "what is printed is read as the same"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50% #1.csv", "50% #1.csv"),
        ("a: b", "a: b"),
        ("- a", "- a"),
        ("!a &b *c", "!a &b *c"),
        ("'a' b", "'a' b"),
        ("{a,b}.csv", "{a,b}.csv"),
        ("{a: b}", "{a: b}"),
        ("@a", "@a"),
        (" a ", "a"),
        ("'a # b'", "a # b"),
        ("''", ""),
        ("", None),
    ],
)
def test_text_of_an_override_is_not_cut_or_read_as_yaml(text, value):
    assert load_config(overrides=[f"ingest.source.path={text}"]).ingest.source.path == value


@pytest.mark.parametrize("override", ["ingest.source.quote=", "ingest.source.quote=''"])
def test_empty_overrides_of_texts_that_are_always_there_are_empty_texts(override):
    assert load_config(overrides=[override]).ingest.source.quote == ""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("split: {seed: 1}\nsplit: {seed: 2}", "the key split is there twice, line 2"),
        ("split: {seed: 1, seed: 2}", "the key seed is there twice, line 1"),
        ("split: !!python/object:os.system {}", "no tag !!python/object:os.system is known"),
        ("? [a]\n: 1", "a key is text"),
        ("a: &x [*x]", "nested too deeply, or within itself"),
        ("[" * 3000, "not "),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_files_that_cannot_be_used_say_why_in_a_line(tmp_path, text, cause):
    message = refusal(sources=[written(tmp_path, "a.yaml", text)])
    assert cause in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recommend.n=2024-01-01", "recommend.n is '2024-01-01'; it must be a whole number"),
        ("recommend.n=null", "recommend.n is null; it must be a whole number, such as 10."),
        ("recommend.n=0", "recommend.n is 0; it must be 1 or more, such as 10."),
        ("recommend.n=true", "recommend.n is 'true'; it must be a whole number"),
        ("recommend.n=1.5", "recommend.n is 1.5; it must be a whole number"),
        ("recommend={n: {a: true}}", "recommend.n is {a: true}; it must be a whole number"),
        ("recommend.backfill=[1]", "recommend.backfill is [1]; it must be true or false."),
        ("recommend=5", "recommend is 5; it must be keys and values, such as {n: ...}."),
        ("models=5", "models is 5; it must be keys and values, such as {name: ...}."),
        ("spark.shuffle_partitions=x", "it must be a whole number or null, such as 10."),
        ("split.test_fraction=x", "split.test_fraction is x; it must be a number, such as 0.2."),
        ("split.test_fraction=0", "split.test_fraction is 0; it must be above 0, such as 0.2."),
        ("split.test_fraction=1", "split.test_fraction is 1; it must be below 1, such as 0.2."),
        ("generate.rank=65", "generate.rank is 65; it must be 64 or less, such as 8."),
        ("paths.root=null", "paths.root is null; it must be text."),
        ("ingest.since=today", "ingest.since is today; it must be a time or null, such as 2024-05"),
        ("ingest.since=[1]", "ingest.since is [1]; it must be a time or null, such as 2024-05"),
        ("solver.method=qr", "it must be one of auto, cholesky, cg, subspace."),
        ("evaluate.k=5", "evaluate.k is 5; it must be a list, such as [5, 10, 20]."),
        ("evaluate.k=[]", "evaluate.k is []; it must be a list of 1 or more, such as [5, 10, 20]."),
        ("evaluate.k=[a]", "evaluate.k.0 is a; it must be a whole number"),
        ("items.columns.genres=[a]", "it must be text or a whole number or null"),
        ("recommend.model=[{a: 1}]", "recommend.model.0 is {a: 1}; it must be text."),
        ("ingest.filters=[{column: [a], op: is_null}]", "ingest.filters.0.column is [a]; it must"),
        (
            "ingest.filters=[{op: eq, value: 1}]",
            "ingest.filters.0.column is missing; it must be te",
        ),
        ("ingest.filters=[{column: a, op: eq, value: {b: 1}}]", "it must be a value or a list or "),
        ("objective.clip=[1]", "objective.clip is [1]; it must be a list of 2 numbers or null"),
        ("objective.clip=[1, 2, 3]", "objective.clip is [1, 2, 3]; it must be a list of 2 numbers"),
        ("models={a: {rank: 3}}", "models.a.kind is missing; it must be one of wals, mllib"),
        ("models={a: {kind: item_knn, shrinkage: .inf}}", "it must be a finite number."),
        ("models={a: {kind: popularity, segment_by: ''}}", "it must be text that is not empty."),
        ("tune.space={rank: 5}", "tune.space.rank is 5; it must be a list or keys and values"),
        ("tune.space={rank: {high: 3}}", "tune.space.rank.low is missing; it must be a number"),
        ("tune.space={rank: {low: 1, high: 2, lo: 1}}", "Unknown key tune.space.rank.lo; "),
        ("ingest.thresholds.per_rule={bad: {}}", "Unknown key ingest.thresholds.per_rule.bad; cho"),
    ],
)
def test_refusals_show_values_as_yaml_and_no_types_of_python(override, message):
    given = refusal(override)
    assert message in given
    assert len(given.splitlines()) == 1
    for word in ("None", "True", "datetime", "[bool", "dictionary", "instance", "Plain", "nput"):
        assert word not in given


# The types of parts of the configuration's schema, and the errors that pydantic has for them.
ERRORS = {
    "bool": ("bool_type", "bool_parsing"),
    "datetime": (
        *("datetime_type", "datetime_parsing", "datetime_object_invalid"),
        "datetime_from_date_parsing",
    ),
    "dict": ("dict_type",),
    "float": ("float_type", "float_parsing", "finite_number"),
    "int": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "list": ("list_type", "too_short"),
    "literal": ("literal_error",),
    "model": ("model_type",),
    "model-fields": ("missing", "extra_forbidden"),
    "str": ("string_type", "string_too_short"),
    "tuple": ("tuple_type", "too_long", "missing"),
    "function-after": ("value_error",),
}
SILENT = {
    *("any", "no-info", "default", "nullable", "union", "model-field", "function-wrap"),
    *("definitions", "definition-ref"),
}
LIMITS = {
    "gt": "greater_than", "ge": "greater_than_equal", "lt": "less_than", "le": "less_than_equal"
}  # fmt: skip


def parts_of(schema):
    if isinstance(schema, list | tuple):
        for inner in schema:
            yield from parts_of(inner)
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for inner in schema.values():
            yield from parts_of(inner)


def test_every_error_that_the_configuration_can_have_is_in_our_words():
    parts = list(parts_of(Config.__pydantic_core_schema__))
    kinds = {part["type"] for part in parts} - SILENT
    possible = {error for kind in kinds for error in ERRORS[kind]}
    possible |= {error for limit, error in LIMITS.items() if any(limit in part for part in parts)}
    own = {"missing", "extra_forbidden", "value_error"}
    assert possible - own <= _OF_TYPE | set(_RANGES)


def test_later_files_win_and_overrides_win_over_files(tmp_path):
    first = written(tmp_path, "a.yaml", "recommend: {n: 1, backfill: false}\nsplit: {seed: 1}\n")
    second = written(tmp_path, "b.yaml", "recommend: {n: 2}\n")
    config = load_config([first, second], ["split.seed=3"])
    assert (config.recommend.n, config.recommend.backfill, config.split.seed) == (2, False, 3)
    assert load_config([second, first]).recommend.n == 1


def test_spark_settings_of_several_files_are_joined(tmp_path):
    first = written(tmp_path, "a.yaml", "spark: {conf: {spark.a: 1, spark.b: 1}}")
    second = written(tmp_path, "b.yaml", "spark: {conf: {spark.b: 2}}")
    config = load_config([first, second], ["spark.conf.spark.c.d=3"])
    assert config.spark.conf == {"spark.a": "1", "spark.b": "2", "spark.c.d": "3"}


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_config([written(tmp_path, "a.yaml", "# nothing yet\n")]) == Config()


@pytest.mark.parametrize(("text", "cause"), [("a: [", "not valid YAML"), ("- 1", "must hold keys")])
def test_unusable_files_are_named(tmp_path, text, cause):
    path = written(tmp_path, "a.yaml", text)
    message = refusal(sources=[path])
    assert str(path) in message
    assert cause in message


def test_a_missing_file_is_named(tmp_path):
    assert "gone.yaml" in refusal(sources=[tmp_path / "gone.yaml"])
    message = refusal(sources=["movie-lens"])
    assert "movie-lens (did you mean movielens?); those that need no path are base" in message


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("objective.preset=hu208", "hu2008"),
        ("split.method=leave_last", "leave_last_out"),
        ("models={walks: {kind: rp3}}", "rp3beta"),
        ("recommend.model=modle", "model"),
    ],
)
def test_messages_of_misspelt_names_propose_the_nearest(override, meant):
    assert f"(did you mean {meant}?)" in refusal(override)


def test_shipped_configurations_are_found_by_name_and_paths_go_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(["movielens"]) == load_config([CONF / "movielens.yaml"])
    written(tmp_path, "movielens", "recommend: {n: 3}")
    assert load_config(["movielens"]).recommend.n == 3


def test_a_folder_of_the_same_name_hides_no_shipped_configuration(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config([Path("demo")]) == load_config([CONF / "demo.yaml"])
    (tmp_path / "own").mkdir()
    with pytest.raises(ConfigError, match="own"):
        load_config([Path("own")])


def test_shipped_folders_are_part_of_the_package():
    package = files("recsys_spark")
    for folder, kind in (("conf", "yaml"), ("jobs", "py")):
        own = {path.name for path in (CONF.parent / folder).glob(f"*.{kind}")}
        assert own <= {file.name for file in (package / folder).iterdir()}
        assert f'"{folder}/*.{kind}"' in (CONF.parent / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("overrides", "cause"),
    [
        (["objective.alpha=2"], "objective.alpha has no effect with objective.weighting: binary"),
        (["objective.preset=explicit", "objective.alpha=2"], "objective.alpha has no effect"),
        (["split.fold_in_fraction=0.5"], "fold_in_fraction has no effect with method: per_user"),
        (["split.method=leave_last_out", "split.test_fraction=0.5"], "test_fraction has no effect"),
        (["split.method=none", "split.test_fraction=0.5"], "test_fraction has no effect"),
        (["split.test_last=2"], "test_last has no effect"),
        (["split.validation_last=2"], "validation_last has no effect"),
        (["solver.method=cholesky", "solver.cg_steps=3"], "solver.cg_steps has no effect with"),
        (["solver.method=cg", "solver.subspace_block=8"], "solver.subspace_block has no effect"),
    ],
)
def test_keys_without_effect_are_refused_with_the_cure(overrides, cause):
    message = refusal(*overrides)
    assert cause in message
    assert "remove it" in message


GENRES = "items.columns.genres=genres"
TIMELESS = "ingest.source.columns.timestamp=null"
ADJACENCY = "split={method: predefined, predefined: {format: adjacency}}"


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["recommend.policy.max_per_genre=2"], ["items.path and items.columns.genres"]),
        ([GENRES, "recommend.policy.max_per_genre=2"], ["max_per_genre", "set items.path"]),
        ([GENRES, "recommend.similar_items.genre_weight=0.2"], ["genre_weight", "set items.path"]),
        (["train.early_stopping=ndcg"], ["train.early_stopping", "split.validation_fraction"]),
        (
            ["train.early_stopping=ndcg", "split.method=leave_last_out"],
            ["train.early_stopping: ndcg needs", "split.validation_last is 0"],
        ),
        (
            ["evaluate.split=validation", "split.method=k_fold"],
            ["evaluate.split: validation needs", "split.method: k_fold leaves none"],
        ),
        (
            ["split.method=none", "train.early_stopping=ndcg"],
            [
                "train.early_stopping: ndcg needs",
                "split.method: none leaves none",
                "or remove train.early_stopping",
            ],
        ),
        (
            [ADJACENCY, "train.early_stopping=ndcg"],
            ["train.early_stopping: ndcg needs", "split.predefined.validation is 0"],
        ),
        ([TIMELESS, "split.method=global_time"], ["split.method: global_time needs the time"]),
        ([TIMELESS, "objective.half_life_days=9"], ["objective.half_life_days needs the time"]),
        (
            [TIMELESS, "models={own: {kind: wals, objective: {half_life_days: 9}}}"],
            [
                "models.own.objective.half_life_days needs",
                "ingest.source.columns.timestamp is null",
            ],
        ),
        ([TIMELESS, "models={now: {kind: popularity, days: 9}}"], ["models.now.days needs"]),
        ([TIMELESS, "recommend.seen_days=9"], ["recommend.seen_days needs"]),
        (
            [TIMELESS, "recommend={last_interaction: true, exclude_seen: false}"],
            ["recommend.last_interaction needs", "ingest.source.columns.timestamp is null"],
        ),
        ([TIMELESS, "recommend.policy.new_items.slots=1"], ["new_items.slots needs the time"]),
        ([TIMELESS, "ingest.since=2024-01-01"], ["ingest.since needs the time"]),
        (
            [ADJACENCY, "objective.half_life_days=9"],
            ["objective.half_life_days needs", "split.predefined.format: adjacency has none"],
        ),
    ],
)
def test_what_a_setting_needs_of_another_section_is_refused_naming_both(overrides, keys):
    message = refusal(*overrides)
    for key in keys:
        assert key in message


@pytest.mark.parametrize(
    "overrides",
    [
        ["evaluate.item_knn.similarity=tfidf", "evaluate.user_knn.similarity=tfidf"],
        ["train.early_stopping=ndcg", "split.validation_fraction=0.1"],
        ["evaluate.split=validation", "split={method: leave_last_out, validation_last: 1}"],
        [GENRES, "items.path=items.csv", "recommend.policy.max_per_genre=2"],
        [TIMELESS, "recommend.policy.new_items={slots: 1, path: new.csv}"],
        ["split={method: predefined}", "objective.half_life_days=9"],
    ],
)
def test_what_a_setting_needs_may_be_there(overrides):
    load_config(overrides=overrides)


@pytest.mark.parametrize(
    ("override", "cause"),
    [
        ("objective.preset=als", "one of ials, hu2008, mllib, mllib_explicit"),
        ("solver={method: cg, cg_steps: 0}", "solver.cg_steps is 0; it must be 1 or more"),
        ("solver.method=qr", "solver.method is qr; it must be one of auto, cholesky, cg, subspace"),
        ("objective.rank=0", "objective.rank is 0; it must be 1 or more"),
        ("split.test_fraction=1", "split.test_fraction is 1; it must be below 1"),
        ("split.validation_fraction=0.8", "leave nothing to train on"),
        ("evaluate.k=[0, 5]", "cut-offs are 1 or more"),
        ("evaluate.k=[]", "evaluate.k"),
        ("ingest.source.separator=abc", "needs one or two characters"),
        ("ingest.source.quote=ab", "needs one character, or none"),
        ("ingest.source.header=false", "columns are positions counted from 0: set columns.user"),
        ("ingest.filters=[{column: a, op: in, value: 1}]", "op in needs a list"),
        ("ingest.filters=[{column: a, op: eq}]", "op eq needs one value"),
        ("ingest.source.columns.event=kind", "source.columns.event needs event_weights"),
        ("ingest.event_weights={view: 1}", "has no effect without source.columns.event"),
        (
            "ingest={source: {columns: {event: a}}, event_weights: {b: 1}, duplicates: count}",
            "no effect with duplicates: count",
        ),
        ("ingest.event_weights={view: .inf}", "weights are finite numbers"),
        ("ingest={source: {columns: {event: a}}, event_weights: {b: 0}}", "every weight is 0"),
    ],
)
def test_values_out_of_range_are_refused(override, cause):
    assert cause in refusal(override)


def test_objective_resolves_through_its_preset():
    spec = load_config(overrides=["objective.preset=hu2008", "objective.alpha=2"]).objective.spec()
    assert (spec.alpha, spec.unobserved_weight, spec.target) == (2.0, 1.0, "unit")


@pytest.mark.parametrize("time", ["2024-05-31", "2024-05-31T06:00:00"])
def test_times_and_ranges_reach_the_objective(time):
    objective = ["objective.half_life_days=30", f"objective.decay_reference={time}"]
    spec = load_config(overrides=objective).objective.spec()
    assert spec.decay_reference is not None
    assert spec.decay_reference.startswith("2024-05-31T0")
    ratings = ["objective.preset=mllib_explicit", "objective.clip=[1, 5]"]
    assert load_config(overrides=ratings).objective.spec().clip == (1.0, 5.0)


@pytest.mark.parametrize("key", ["ingest.source.separator", "items.separator"])
def test_separators_may_be_written_as_an_escaped_tab(key):
    section, *rest = key.split(".")
    value = getattr(load_config(overrides=[rf"{key}=\t"]), section)
    for name in rest:
        value = getattr(value, name)
    assert value == "\t"


def test_two_characters_separate_fields():
    config = load_config(overrides=['ingest.source.separator="::"'])
    assert config.ingest.source.separator == "::"


@pytest.mark.parametrize(
    "key",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.hadoop.fs.azure.account.key.shop.dfs.core.windows.net",
        "spark.ssl.keyPassword",
        "spark.some.sessionToken",
        "spark.hadoop.fs.azure.sas.shop.account.blob.core.windows.net",
        "spark.shop.api_key",
        "spark.shop.privateKey",
        "spark.shop.passphrase",
        "spark.shop.pwd",
    ],
)
def test_secrets_are_masked(key):
    config = load_config(overrides=[f"spark.conf.{key}=hunter2", "spark.conf.spark.ui.port=1"])
    assert config.masked()["spark"]["conf"] == {key: MASK, "spark.ui.port": "1"}
    assert config.spark.conf[key] == "hunter2"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host:5000/a@b?user=me&x=1", "https://host:5000/a@b?user=me&x=1"),
        ("https://host/x?user=me&password=hunter2", f"https://host/x?user=me&password={MASK}"),
        ("https://host/x?sig=hunter2&api_key=hunter2", f"https://host/x?sig={MASK}&api_key={MASK}"),
        ("s3a://bucket/day@noon", "s3a://bucket/day@noon"),
    ],
)
def test_addresses_are_masked_where_they_have_secrets(address, shown):
    assert mask(address) == shown


@pytest.mark.parametrize("password", ["hunter2", "hunt@er2", "hunt/er2"])
def test_passwords_in_urls_are_masked(password):
    config = load_config(overrides=[f"tracking.uri=https://me:{password}@host:5000/a@b"])
    assert config.masked()["tracking"]["uri"] == f"https://{MASK}@host:5000/a@b"


@pytest.mark.parametrize(
    "override",
    [
        "spark.conf={x.password: [hunter2]}",
        "spark.conf={x.password: [hunter2",
        "tracking.required=https://me:hunter2@host",
    ],
)
def test_refusals_do_not_print_secrets(override):
    assert "hunter2" not in refusal(override)


def test_chosen_settings_are_flat_and_without_secrets():
    chosen = load_config(
        overrides=[
            "recommend.n=3",
            "recommend.policy.max_per_genre=null",
            "spark.conf.a.password=x",
            "ingest.filters=[{column: a, op: is_null}]",
        ]
    ).chosen()
    assert chosen == {
        "recommend.n": 3,
        "recommend.policy.max_per_genre": None,
        "spark.conf": {"a.password": MASK},
        "ingest.filters": [{"column": "a", "op": "is_null"}],
    }
    assert Config().chosen() == {}


def test_masking_keeps_everything_else():
    assert Config.model_validate(Config().masked()) == Config()


def test_digest_changes_with_its_sections_only():
    config, other = Config(), load_config(overrides=["recommend.n=3"])
    assert config.digest() != other.digest()
    assert config.digest("recommend") != other.digest("recommend")
    assert config.digest("split", "ingest") == other.digest("split", "ingest")
    assert len(config.digest()) == 8


def test_digest_covers_single_keys():
    config, blocks, by_cg = (
        Config(),
        load_config(overrides=["solver.blocks=3"]),
        load_config(overrides=["solver.method=cg"]),
    )
    assert config.digest("solver") != blocks.digest("solver")
    assert config.digest("solver.method") == blocks.digest("solver.method")
    assert config.digest("solver.method") != by_cg.digest("solver.method")
    keys = ("objective", "solver.method")
    assert config.digest(*keys) == config.digest(*reversed(keys)) != config.digest("objective")


def test_the_solver_must_fit_the_objective():
    message = refusal("solver.method=subspace", "objective.nonnegative=true")
    assert "solver.method: subspace and objective.nonnegative exclude each other" in message
    config = load_config(overrides=["solver={method: auto, cg_steps: 5}"])
    assert (config.solver_of_rows().method, config.solver_of_rows().cg_steps) == ("auto", 5)


def test_the_fingerprint_of_train_covers_what_changes_the_factors():
    def printed(*overrides):
        return fingerprint(load_config(overrides=overrides), "train", "source")

    same = ["solver.blocks=3", "solver.broadcast_budget_mb=10", "train.refit=false"]
    assert {printed(key) for key in same} == {printed()}
    others = ["objective.rank=3", "solver.method=cg", "solver={method: cg, cg_steps: 4}"]
    others += ["solver.method=subspace", "solver={method: subspace, subspace_block: 8}"]
    assert len({printed(key) for key in [*others, "solver.blocks=1"]}) == 6


def test_the_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().recommend.n = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("movielens", ValueRange(0.5, 5.0, 100_836), "confidence = 0.29 value"),
        ("lastfm", ValueRange(1.0, 352_698.0, 92_834), "confidence = 0.18 ln(1 + value)"),
    ],
)
def test_shipped_configurations_use_ratings_and_play_counts(name, values, said):
    assert said in describe_values(load_config([name]).objective.spec(), values)


def test_the_demo_makes_what_its_pages_lead_to():
    recommend = load_config(["demo"]).recommend
    assert recommend.explain > 0
    assert recommend.similar_items.n > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["models.a b.kind=popularity"], "needs another name"),
        (["models.popularity.kind=popularity"], "needs another name"),
        (["models.w.kind=walks"], "models.w.kind is walks; it must be one of wals, mllib"),
        (["models.w.beta=1"], "models.w.kind is missing; it must be one of wals"),
        (["models.w.kind=rp3beta", "models.w.shrinkage=1"], "shrinkage has no effect with kind"),
        (["models.w.kind=rp3beta", "models.w.beta=.nan"], "models.w.beta"),
        (["models={w: {kind: item_knn, centring: item_mean}}"], "set weights: values"),
        (["models={w: {kind: item_knn, similarity: bm25, shrinkage: 1}}"], "no effect with"),
        (["models.b.kind=blend"], "a blend needs parts"),
        (["models={b: {kind: blend, parts: {model: .inf}}}"], "models.b.parts.model"),
        (["models={b: {kind: blend, parts: {w: 1}}}"], "choose among model"),
        (["models={b: {kind: blend, parts: {model: 1}, constant: 3}}"], "rank_fusion"),
        (["models={b: {kind: blend, parts: {model: 1}}, c: {kind: blend, parts: {b: 1}}}"],
         "models.c.parts has b, a blend itself"),
        (["models={b: {kind: blend, parts: {b: 1}}}"], "models.b.parts has b, a blend itself"),
        (["models={b: {kind: blend, parts: {model: 1e300}}}"], "it must be 1e+09 or less"),
        (["models={p: {kind: popularity, days: .inf}}"], "it must be a finite number"),
        (["models={p: {kind: popularity, segment_by: ''}}"], "models.p.segment_by"),
        (["models={p: {kind: popularity, segment_by: city}}"], "name it in evaluate.users.columns"),
        (["models={w: {kind: user_knn, similarity: tfidf}}", "recommend.model=w",
          "recommend.explain=2"], "cannot divide the scores of models.w"),
        (["recommend.model=mix"], "recommend.model is mix; there are model"),
        (["models={a: {kind: cosine, of: w}, w: {kind: rp3beta}}"],
         "models.a.of is w, which has no factors: choose among model"),
        (["models={d: {kind: wals, objective: {rank: -1}}}"], "models.d.objective: objective.rank"),
        (["models={d: {kind: wals, objective: {preset: mllib_explicit}}}",
          "objective.preset=ials", "objective.unobserved_weight=0.1", "models.d.rank=3"],
         "rank has no effect with kind: wals"),
        (["models={d: {kind: mllib, alpha: -1}}"], "alpha is the scale of confidence"),
        (["models={d: {kind: mllib}}", "recommend.model=[d, model]", "recommend.explain=1"],
         "leave it out of recommend.model"),
        (["recommend.cold_start_items=true"], "name one of kind: content in recommend.model"),
        (["models={c: {kind: content}}", "items.path=i.csv", "recommend.model=c",
          "recommend.cold_start_items=true", "recommend.policy.min_users=2"], "remove one of them"),
        (["recommend.model=[model, model]"], "names a model twice"),
        (["recommend.model=[]"], "model is empty"),
        (["models={a: {kind: rp3beta}, A: {kind: ease}}"], "differs from another name by capitals"),
        (["models={b: {kind: blend, parts: {model: -1}}}"], "a part with a weight above 0"),
        (["models={c: {kind: content}}"], "models.c compares titles and genres: set items.path"),
        (["models={a: {kind: rp3beta, betta: 1}}"], "the nearest valid key is models.a.beta"),
        (["models={a: {kind: rp3beta}}", "tune.space={models.a.nope: [1]}"], "no key of a model"),
        (["tune.space={models.nope.beta: [1]}"], "no key of a model there is"),
        (["models={b: {kind: blend, method: rank_fusion, parts: {model: 1}}}", "recommend.model=b",
          "recommend.explain=2"], "set method: sum or standardised there"),
        (["models={w: {kind: rp3beta}}", "recommend.model=w", "recommend.policy.diversity=0.2"],
         "recommend.policy.diversity needs factors"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_are_refused_with_the_cure(settings, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config(overrides=settings)


def test_an_objective_of_a_model_is_laid_over_the_main_one_or_begins_with_its_preset():
    words = ["objective.rank=9", "objective.unobserved_weight=0.3", "objective.seed=7"]
    models = (
        "models={a: {kind: wals, objective: {rank: 5}}, "
        "b: {kind: wals, objective: {preset: hu2008, seed: 1}}}"
    )
    config = load_config(overrides=[*words, models])
    assert config.objective_of("a").spec() == replace(config.objective.spec(), rank=5)
    assert config.objective_of("b").spec() == resolve_spec(preset="hu2008", seed=1)


def test_weights_of_blends_do_not_train_again():
    """The digest of what is fitted is that of the models without their blends."""
    words = ["models.w.kind=rp3beta", "models.b.kind=blend"]
    one, other = (
        load_config(overrides=[*words, f"models.b.parts={{model: 1, w: {weight}}}"])
        for weight in (1, 2)
    )
    assert one.digest("fitted_models") == other.digest("fitted_models")
    assert one.digest("models") != other.digest("models")


EVERY_KIND = """
items: {path: items.csv}
models:
  deep: {kind: wals, objective: {rank: 5}}
  other: {kind: wals, objective: {preset: mllib}}
  spark: {kind: mllib, alpha: 2}
  angle: {kind: cosine, of: deep}
  near: {kind: item_knn, similarity: tfidf}
  alike: {kind: user_knn, weights: values, centring: item_mean}
  walks: {kind: rp3beta, beta: 0.4}
  linear: {kind: ease}
  words: {kind: content}
  often: {kind: popularity, days: 30}
  mix: {kind: blend, parts: {model: 1.0, walks: 0.5}}
  ranks: {kind: blend, method: rank_fusion, constant: 9, parts: {model: 1.0, near: 1.0}}
"""


def test_a_configuration_with_models_can_be_written_and_read_again(tmp_path):
    config = load_config([written(tmp_path, "shop.yaml", EVERY_KIND)])
    dumped = written(tmp_path, "run.yaml", yaml.safe_dump(config.masked()))
    again = load_config([dumped])
    assert again.masked() == config.masked()
    assert again.digest() == config.digest()
    models = config.masked()["models"]
    assert models["near"] == {
        "kind": "item_knn", "similarity": "tfidf", "shrinkage": 0.0, "neighbours": 50,
        "weights": "binary", "centring": "none",
    }  # fmt: skip
    assert models["deep"] == {"kind": "wals", "objective": {"rank": 5}}
    assert again.objective_of("deep") == config.objective_of("deep")


MIXED = (
    "models: {walks: {kind: rp3beta, beta: 0.4}, mix: {kind: blend, parts: {model: 1, walks: 2}}}"
)


@pytest.mark.parametrize(
    ("later", "overrides", "expected"),
    [
        ("models: {walks: {beta: 0.6}}", [], {"walks": 0.6, "mix": {"model": 1, "walks": 2}}),
        ("models: {mix: null}", [], {"walks": 0.4}),
        ("models: {mix: {parts: {walks: null}}}", [], {"walks": 0.4, "mix": {"model": 1}}),
        ("models: {walks: {kind: ease}}", [], {"walks": None, "mix": {"model": 1, "walks": 2}}),
        ("", ["models.mix=null"], {"walks": 0.4}),
        ("", ["models.mix.parts.walks=null"], {"walks": 0.4, "mix": {"model": 1}}),
        ("", ["models.mix.parts={walks: 3}"], {"walks": 0.4, "mix": {"walks": 3}}),
        ("", ["models.mix.parts.walks=5"], {"walks": 0.4, "mix": {"model": 1, "walks": 5}}),
        ("", ["models={}"], {}),
    ],
)
def test_later_files_and_overrides_change_replace_and_remove_models(
    tmp_path, later, overrides, expected
):
    files = [written(tmp_path, f"{at}.yaml", text) for at, text in enumerate((MIXED, later))]
    models = load_config(files, overrides).models
    found = {
        name: model.parts or (model.beta if model.kind == "rp3beta" else None)
        for name, model in models.items()
    }
    assert found == expected


def test_an_error_of_several_keys_has_no_dump_of_everything():
    message = refusal("models.b={kind: blend, parts: {w: 1}}")
    assert message.startswith("models.b.parts has w, which is no part")
    assert "given" not in message
