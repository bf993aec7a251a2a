"""The search: what is tried, that it goes on where it was, and what it leaves behind."""

import json
from functools import partial
from math import log

import optuna
import pytest
import yaml

from recsys_spark.config import Config, Tune
from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.pipeline import tune as tuning
from recsys_spark.pipeline.runner import Options
from recsys_spark.pipeline.search import proposals
from recsys_spark.pipeline.tune import tune
from recsys_spark.pipeline.validation import Validation
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config
from tests.pipeline.pipeline_runs import write_source

SPACE = {"rank": [2, 4], "regularization": {"low": 0.001, "high": 0.1, "log": True}}


def search(folder, *settings, **options):
    base = [
        f"paths.root={folder / 'root'}",
        f"ingest.source.path={folder / 'ratings.csv'}",
        "objective.iterations=2",
        "split.validation_fraction=0.2",
        "tracking.backend=none",
        "tune.trials=3",
    ]
    config = load_config(overrides=[*base, *settings])
    return tune(config, Options(run_id="search", **options), Log([]))


@pytest.fixture
def searched(spark, tmp_path):
    write_source(tmp_path)
    return partial(search, tmp_path)


def test_a_grid_tries_every_combination_and_keeps_the_best(searched, tmp_path, monkeypatch):
    prepared, built = tuning.prepared, []
    monkeypatch.setattr(tuning, "prepared", lambda *given: built.append(given) or prepared(*given))
    space = "tune.space={rank: [4, 2], unobserved_weight: [0.1, 1.0]}"
    found = searched("tune.method=grid", space)
    assert [trial.settings for trial in found.trials] == [
        {"rank": rank, "unobserved_weight": weight} for rank in (4, 2) for weight in (0.1, 1.0)
    ]
    assert len(built) == 1  # the blocks serve all of them
    best = max(found.trials, key=lambda trial: trial.value)
    content = yaml.safe_load((tmp_path / "root" / found.best).read_text())
    assert content == {"objective": {"iterations": 2, **best.settings}}
    assert load_config([tmp_path / "root" / found.best]).objective.rank == best.settings["rank"]
    assert not list((tmp_path / "root").rglob("scratch"))


def test_trials_are_measured_on_some_of_the_validation_users(searched, tmp_path, monkeypatch):
    measured, metric = [], Validation.metric

    def counted(validation, *given):
        measured.append({row["user"] for row in validation.users.collect()})
        return metric(validation, *given)

    monkeypatch.setattr(Validation, "metric", counted)
    for name, users in (("all", "null"), ("more", 1000), ("some", 7), ("again", 7)):
        space = "tune.space={regularization: [0.1]}"
        where = f"paths.root={tmp_path / name}"
        searched("tune.method=grid", space, where, f"tune.users={users}")
    everyone, more, some, again = measured
    assert everyone == more
    assert len(some) == 7
    assert some == again < everyone


def test_a_trial_is_worth_what_training_by_itself_is(searched, tmp_path):
    one, two = (
        searched("tune.method=grid", f"tune.space={space}", f"paths.root={tmp_path / name}").trials
        for name, space in (
            ("together", "{regularization: [0.01, 0.1], weighting: [binary, linear]}"),
            ("alone", "{regularization: [0.1], weighting: [linear]}"),
        )
    )
    assert one[-1].settings == two[0].settings
    assert one[-1].value == two[0].value


def test_weights_of_a_blend_are_searched_with_the_factors_kept(searched, tmp_path, monkeypatch):
    fitted, fit = [], tuning.fit_model
    monkeypatch.setattr(tuning, "fit_model", lambda *given: fitted.append(given) or fit(*given))
    models = "models={w: {kind: rp3beta}, mix: {kind: blend, parts: {model: 1, w: 1}}}"
    space = "tune.space={models.w.beta: [0.2, 0.6], models.mix.parts.w: [0.5, 5000.0]}"
    found = searched(models, "recommend.model=mix", "tune.method=grid", space)
    assert len(found.trials) == 4
    assert len(fitted) == 2  # walks of each beta
    best = load_config([tmp_path / "root" / found.best])
    chosen = max(found.trials, key=lambda trial: trial.value).settings
    assert best.models["w"].beta == chosen["models.w.beta"]
    assert best.models["mix"].parts == {"model": 1.0, "w": chosen["models.mix.parts.w"]}
    assert best.recommend.model == "mix"
    walks = searched("models={w: {kind: rp3beta, beta: 0.6}}", "recommend.model=w",
                     "tune.method=grid", "tune.space={models.w.beta: [0.6]}",
                     f"paths.root={tmp_path / 'walks'}")  # fmt: skip
    heavy = next(t for t in found.trials if t.settings["models.mix.parts.w"] == 5000.0
                 and t.settings["models.w.beta"] == 0.6)  # fmt: skip
    assert heavy.value == pytest.approx(walks.trials[0].value, abs=1e-9)


def test_tune_searches_blends_of_other_factors_and_similar_users(searched, monkeypatch):
    fitted, fit = [], tuning.fit_factor_model
    monkeypatch.setattr(
        tuning, "fit_factor_model", lambda *given: fitted.append(given) or fit(*given)
    )
    models = (
        "models={deep: {kind: wals}, alike: {kind: user_knn}, "
        "mix: {kind: blend, parts: {deep: 1, alike: 1}}}"
    )
    space = "tune.space={models.deep.objective.rank: [2, 3], models.mix.parts.alike: [0.0, 5.0]}"
    found = searched(models, "recommend.model=mix", "tune.method=grid", space)
    assert len(found.trials) == 4
    assert [config.objective_of("deep").rank for _, config, *_ in fitted] == [2, 3]
    assert len({trial.value for trial in found.trials}) > 1


def test_tune_counts_only_the_rows_that_evaluate_finds_relevant(searched):
    with pytest.raises(ContractError, match=r"no relevant validation rows.*min_relevant_value"):
        searched("tune.space={rank: [4, 8]}", "evaluate.min_relevant_value=6")


def test_trials_begin_with_the_one_before_where_that_is_wanted(searched, tmp_path):
    """From a trained half of the coordinates, one more sweep is worth more than a first one."""
    space = "tune.space={rank: [8, 16]}"
    few = ["tune.method=grid", space, "objective.iterations=1", "objective.regularization=0.03"]
    cold, warm = (
        searched(*few, f"tune.warm_start={wanted}", f"paths.root={tmp_path / str(wanted)}").trials
        for wanted in (False, True)
    )
    assert warm[0].value == cold[0].value
    assert warm[1].value != cold[1].value


def test_trials_made_before_are_not_made_again(searched, tmp_path):
    space = f"tune.space={json.dumps(SPACE)}"
    first = searched(space, "tune.trials=2")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "root").rglob("trials/*.json")}
    assert len(stamps) == 2
    second = searched(space, "tune.trials=3")
    assert second.trials[:2] == first.trials
    assert len(second.trials) == 3
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_settings_that_cannot_be_trained_count_0_and_the_others_are_tried(searched, tmp_path):
    found = searched("tune.method=grid", "tune.space={regularization: [1.0e+30, 0.01]}")
    assert found.trials[0].value == 0 < found.trials[1].value
    content = yaml.safe_load((tmp_path / "root" / found.best).read_text())
    assert content["objective"]["regularization"] == 0.01


def test_tune_starts_no_trial_after_the_time_limit(searched):
    assert len(searched(f"tune.space={json.dumps(SPACE)}", "tune.minutes=0.0001").trials) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["split.validation_fraction=0.0", "tune.space={rank: [2]}"],
            "split.validation_fraction is 0",
        ),
        (["tune.space={rnk: [2]}"], "rnk is no key of objective"),
        (["tune.space={models.walks.beta: [0.2]}"], "no key of a model there is"),
        (["tune.method=grid", "tune.space={nu: {low: 0, high: 1}}"], "a grid needs lists"),
        (["tune.space={nu: {low: 2, high: 1}}"], "low is above high"),
    ],
)
def test_tune_refuses_settings_that_cannot_be_searched(searched, settings, words):
    with pytest.raises(ConfigError, match=words):
        searched(*settings)


def tries(method, count, tried=(), **keys):
    config = Config(tune=Tune(method=method, space=SPACE, trials=count, **keys))
    return list(proposals(config, [], list(tried)))


def test_random_settings_are_a_function_of_seed_and_number():
    assert tries("random", 9)[:4] == tries("random", 4)
    assert tries("random", 4, seed=1) != tries("random", 4)
    for settings in tries("random", 50):
        assert settings["rank"] in (2, 4)
        assert 0.001 <= settings["regularization"] <= 0.1
    small = [s for s in tries("random", 200) if s["regularization"] < 0.01]
    assert 60 < len(small) < 140  # by factors, a tenth of the range is half of it


def test_tpe_learns_from_what_was_tried():
    """Of a value that grows with the key, later tries are near the upper end."""
    tune = Tune(method="tpe", space={"nu": {"low": 0.0, "high": 1.0}}, trials=40)
    config, tried = Config(tune=tune), []
    for settings in proposals(config, [], tried):
        tried.append((settings, settings["nu"]))
    later = [settings["nu"] for settings, _ in tried[20:]]
    assert len(tried) == 40
    assert sum(later) / len(later) > 0.75
    again = [s for s, _ in zip(proposals(config, [], tried[:10]), range(10), strict=False)]
    assert again == [settings for settings, _ in tried[:10]]


def test_tpe_tries_what_a_study_of_optuna_does():
    """No trial is left open, which the sampler would take for one that a worker is still at."""

    def value(settings):
        return settings["rank"] * settings["regularization"]

    config, tried = Config(tune=Tune(method="tpe", space=SPACE, trials=25)), []
    for settings in proposals(config, [], tried):
        tried.append((settings, value(settings)))

    def objective(trial):
        rank = trial.suggest_categorical("rank", [2, 4])
        regularization = trial.suggest_float("regularization", 0.001, 0.1, log=True)
        return value({"rank": rank, "regularization": regularization})

    sampler = optuna.samplers.TPESampler(seed=config.tune.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=25)
    assert [settings for settings, _ in tried] == [trial.params for trial in study.trials]


def answered(config, parts, value):
    """The trials of a guided search where settings are worth what the function says."""
    tried = []
    for settings in proposals(config, parts, tried):
        tried.append((settings, value(settings)))
    return tried


def test_a_guided_search_walks_to_the_best_and_raises_the_rank_while_it_pays():
    def value(settings):
        w0, reg = settings["unobserved_weight"], settings["regularization"]
        near = 1 - 0.01 * abs(log(w0 / 0.03)) - 0.01 * abs(log(reg / 0.001))
        return near + 0.1 * min(settings["rank"], 256) / 256

    config = load_config(overrides=["objective.rank=32", "tune.trials=100"])
    tried = answered(config, ["model"], value)
    best = max(tried, key=lambda one: one[1])[0]
    assert best["rank"] == 256
    assert best["unobserved_weight"] == pytest.approx(0.03, rel=1.0)
    assert best["regularization"] == pytest.approx(0.001, rel=1.0)
    assert max(settings["rank"] for settings, _ in tried) == 512  # which did not pay
    assert len({repr(settings) for settings, _ in tried}) == len(tried) < 40


def test_a_guided_search_ends_with_the_settings_of_a_blend_and_keeps_the_factors():
    words = ["models={w: {kind: rp3beta}, mix: {kind: blend, parts: {model: 1, w: 10}}}"]
    config = load_config(overrides=[*words, "recommend.model=mix", "tune.trials=100"])
    tried = answered(config, ["model", "w"], lambda s: -abs(s["models.mix.parts.w"] - 40))
    best = max(tried, key=lambda one: one[1])[0]
    assert 30 < best["models.mix.parts.w"] < 50
    last = [{key: s[key] for key in s if not key.startswith("models.")} for s, _ in tried[-5:]]
    assert all(settings == last[0] for settings in last)


def test_guided_search_resumes_and_ends_with_its_trials():
    config = load_config(overrides=["tune.trials=7"])
    tried = answered(config, ["model"], lambda s: s["rank"])
    assert len(tried) == 7
    again = [s for s, _ in zip(proposals(config, ["model"], tried), range(7), strict=False)]
    assert again == [settings for settings, _ in tried]


def test_a_guided_search_leaves_out_what_the_objective_has_not():
    config = load_config(overrides=["objective.preset=mllib_explicit", "tune.trials=30"])
    tried = answered(config, ["model"], lambda s: -abs(s["regularization"] - 0.1))
    assert all("unobserved_weight" not in settings for settings, _ in tried)
    assert tried[0][0] == {"rank": 64, "regularization": config.objective.spec().regularization}
