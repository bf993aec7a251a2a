"""The commands as a person or a scheduler meets them: exit codes and what is printed."""

import json
import re

import pyarrow.parquet as pq
import pytest

from recsys_spark.cli import main
from recsys_spark.pipeline import runner

RATINGS = "user_id,item_id,rating,timestamp\n" + "".join(
    f"u{user},i{item},{(user * item) % 5 + 1},{1_500_000_000 + 60 * user + item}\n"
    for user in range(40)
    for item in range(30)
    if (user * 7 + item * 3) % 4
)
SHOW = ("show", "recommendations")
SMALL = (
    "objective.rank=4",
    "objective.iterations=2",
    "evaluate.k=[5]",
    "evaluate.resamples=20",
    "evaluate.baselines=[popularity]",
    "train.refit=false",
    "tracking.backend=none",
    "recommend.n=5",
)


def words_of(words, root, source=None, settings=()):
    """The words of a command with the settings of these tests."""
    pairs = [f"paths.root={root}", *SMALL, *settings]
    pairs += [f"ingest.source.path={source}"] if source else []
    return [*words, *(word for pair in pairs for word in ("--set", pair))]


@pytest.fixture
def command(spark, tmp_path, capsys):
    """Run a command on a root of its own, in this process; answers code, output, errors."""

    def run(*words, source=None, settings=(), root=tmp_path / "root"):
        code = main(words_of(words, root, source, settings))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def ratings(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS)
    return path


@pytest.fixture(scope="module")
def published(spark, tmp_path_factory):
    """A source and a root in which a run has published its tables."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "ratings.csv").write_text(RATINGS)
    words = ["run", "--run-id", "first"]
    assert main(words_of(words, folder / "root", folder / "ratings.csv")) == 0
    return folder


def stored_rows(folder):
    rows = pq.read_table(folder).to_pylist()
    return sorted(rows, key=str)


def test_run_publishes_a_list_for_every_user(command, published):
    code, folder, _ = command("path", "recommendations", root=published / "root")
    assert code == 0
    lists = stored_rows(folder.strip())
    assert len(lists) == 40
    assert {len(row["recommendations"]) for row in lists} == {5}


def test_published_tables_are_read_by_pandas(command, published):
    pandas = pytest.importorskip("pandas")
    _, folder, _ = command("path", "recommendations", root=published / "root")
    assert len(pandas.read_parquet(folder.strip())) == 40


def test_show_refuses_users_that_there_are_not(command, published):
    code, shown, err = command(*SHOW, "--user", "U3", root=published / "root")
    assert (code, shown) == (2, "")
    assert "has no user U3: values are compared as they are written, also by case." in err
    code, shown, _ = command(*SHOW, "--user", "U3", "--user", "u3", root=published / "root")
    assert code == 0
    assert "5 rows shown of recommendations" in shown


def test_show_filters_rows_by_the_values_of_columns(command, published):
    words = ("show", "metrics", "--limit", "999", "--format", "json")
    code, shown, err = command(*words, root=published / "root")
    assert code == 0, err
    every = json.loads(shown)
    chosen = "--where", "model=model", "--where", "metric=ndcg", "--where", "metric=auc"
    _, shown, _ = command(*words, *chosen, root=published / "root")
    assert json.loads(shown) == [
        row for row in every if row["model"] == "model" and row["metric"] in ("ndcg", "auc")
    ]
    _, shown, _ = command(*words, "--where", "segment=items=head", root=published / "root")
    assert {row["segment"] for row in json.loads(shown)} == {"items=head"}
    _, shown, _ = command(*words, "--where", "k=5", root=published / "root")
    assert json.loads(shown) == [row for row in every if row["k"] == 5]
    _, shown, _ = command(*words, "--where", "k=", root=published / "root")
    assert json.loads(shown) == [row for row in every if row["k"] is None] != []


def test_show_begins_with_the_metrics_that_people_look_for(command, published):
    _, shown, _ = command("show", "metrics", "--format", "json", root=published / "root")
    rows = json.loads(shown)
    assert {row["segment"] for row in rows} == {"all"}
    names = list(dict.fromkeys(row["metric"] for row in rows))
    assert names[:4] == ["ndcg", "recall", "recall_min", "precision"]
    values = [row["value"] for row in rows if row["metric"] == "ndcg"]
    assert values == sorted(values, reverse=True)
    _, shown, _ = command("show", "metrics", root=published / "root")
    assert "run_id" not in shown.splitlines()[0]
    assert "--where COLUMN=VALUE chooses" in shown.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("metrics", "--where", "model"), "write --where COLUMN=VALUE"),
        (
            ("metrics", "--where", "modle=x"),
            "no column modle (did you mean model?); it has run_id,",
        ),
        (("metrics", "--where", "metric=NDCG"), "no row with metric=NDCG: values are compared"),
        (("metrics", "--where", "model=walks"), "model is model, popularity."),
        (("recommendations", "--where", "recommendations=1"), "holds lists"),
        (("metrics", "--user", "u3"), "has no column user_id"),
    ],
)
def test_show_refuses_filters_that_choose_nothing(command, published, words, reason):
    code, shown, err = command("show", *words, root=published / "root")
    assert (code, shown) == (2, "")
    assert reason in " ".join(err.split())


def test_show_prints_json_csv_and_text(command, published):
    words = ["show", "recommendations", "--user", "u3", "--format"]
    _, shown, _ = command(*words, "json", root=published / "root")
    (row,) = json.loads(shown)
    assert row["user_id"] == "u3"
    assert [entry["rank"] for entry in row["recommendations"]] == [1, 2, 3, 4, 5]
    _, shown, _ = command(*words, "csv", root=published / "root")
    assert shown.splitlines()[0] == "user_id,rank,item_id,title,score,source"
    assert len(shown.splitlines()) == 6
    _, shown, _ = command(*words, "table", root=published / "root")
    assert "u3" in shown


def test_status_names_the_current_versions_and_the_runs(command, published):
    _, shown, _ = command("status", root=published / "root")
    assert "recommendations" in shown
    assert "first" in shown
    assert "done" in shown


def test_compare_pairs_the_users_of_two_models(command, published):
    words = ["compare", "first", "--other-model", "popularity"]
    code, shown, err = command(*words, root=published / "root")
    assert code == 0, err
    header = next(line for line in shown.splitlines() if line.startswith("metric"))
    assert header.split("  ")[-1].strip() == "worse", "the columns of a row share its line"
    assert "p (Holm)" in header
    code, shown, _ = command(*words, "--format", "json", root=published / "root")
    rows = {(row["metric"], row["k"]): row for row in json.loads(shown)}
    assert {("ndcg", 5), ("novelty", 5), ("auc", None)} <= set(rows)
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["other"] - row["one"])
        assert row["p_value"] <= row["p_holm"] <= 1
    code, shown, _ = command(*words, "--format", "csv", root=published / "root")
    assert len(shown.splitlines()) == len(rows) + 1


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["first"], "name another run or model"),
        (["first", "nowhere"], "No run nowhere"),
        (["first", "frist"], r"No run frist \(did you mean first\?\)"),
        (["first", "--other-model", "populariti"], r"\(did you mean popularity\?\); it has model"),
        (["first", "--other-model", "magic"], "it has model, popularity"),
    ],
)
def test_compare_of_incomparable_runs_ends_with_code_2(command, published, words, cure):
    code, _, err = command("compare", *words, root=published / "root")
    assert code == 2
    assert re.search(cure, " ".join(err.split()))


def test_recommend_keeps_the_lists_of_users_without_anything_new(command, published):
    root = published / "root"
    code, _, errors = command(
        "recommend", "--changed-since", "first", "--run-id", "third", root=root
    )
    assert (code, "40 lists of run first are reused" in errors) == (0, True), errors
    _, folder, _ = command("path", "recommendations", root=root)
    assert stored_rows(folder.strip().replace("first", "third")) == stored_rows(folder.strip())
    code, _, errors = command("recommend", "--changed-since", "nowhere", root=root)
    assert (code, "no complete version nowhere" in errors) == (2, True)


def test_second_run_is_reported_as_unchanged(command, published):
    def state():
        files = (p for p in (published / "root").rglob("*") if p.is_file())
        return {p: p.stat().st_mtime_ns for p in files if "spark.log" not in p.name}

    before = state()
    words = ["run", "--run-id", "first"]
    source = published / "ratings.csv"
    code, out, err = command(*words, source=source, root=published / "root")
    assert code == 0
    assert "finished before; nothing was changed" in " ".join(err.split())
    assert "Ranking of the test rows" in out
    assert state() == before


def test_two_runs_give_the_same_tables(command, published):
    root = published / "root"
    code, _, err = command("run", "--run-id", "second", source=published / "ratings.csv", root=root)
    assert code == 0, err
    tables = [p for p in (root / "tables").iterdir() if p.name != "metrics"]
    assert len(tables) > 8
    for table in tables:
        first, second = (stored_rows(table / "versions" / name) for name in ("first", "second"))
        for row in [*first, *second]:
            row.pop("model_version", None)
        assert first == second, table.name
    record = json.loads((root / "runs/second/stages/recommend.json").read_text())
    beside = record["summary"]["published"]
    assert (beside["run_id"], beside["users"], beside["overlap"]) == ("first", 40, 1.0)
    assert "100.0% of the first" in " ".join(err.split())


def test_changed_input_under_the_same_settings_becomes_another_run(command, ratings):
    command("ingest", source=ratings)
    ratings.write_text(RATINGS + "new,i1,5,1500000000\n")
    code, _, err = command("ingest", source=ratings)
    assert code == 0, err
    assert "-2" in err


def test_a_run_id_with_other_settings_is_refused(command, ratings):
    command("ingest", "--run-id", "mine", source=ratings)
    code, _, err = command(
        "ingest", "--run-id", "mine", source=ratings, settings=["ingest.duplicates=max"]
    )
    assert code == 2
    assert "another --run-id" in err


def test_stages_alone_build_on_each_other(command, ratings):
    assert command("ingest", source=ratings)[0] == 0
    for stage in ("split", "train", "evaluate", "fold-in", "recommend", "publish"):
        code, _, err = command(stage)
        assert code == 0, (stage, err)
    code, folder, _ = command("path", "recommendations")
    assert code == 0
    assert len(stored_rows(folder.strip())) == 40


def test_a_stage_without_its_input_names_the_stage_to_start_with(command):
    code, _, err = command("train")
    assert code == 2
    assert "recsys-spark split" in " ".join(err.split())


def test_bad_rows_beyond_the_threshold_end_with_code_3_and_the_reasons(command, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("user_id,item_id,rating,timestamp\nu1,i1,five,1500000000\n,i2,4,1500000000\n")
    code, _, err = command("ingest", source=path)
    assert code == 3
    assert "bad_value" in err
    assert "empty_user" in err
    assert "ingest.thresholds" in err
    assert f"--root {tmp_path / 'root'}`" in " ".join(err.split())


def test_doctor_creates_nothing(command, tmp_path):
    code, shown, err = command("doctor")
    assert code == 0, err
    assert "driver and executors agree" in shown
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("text", ["", "user_id,item_id,rating,timestamp\n"])
def test_empty_input_ends_with_code_3(command, tmp_path, text):
    path = tmp_path / "empty.csv"
    path.write_text(text)
    code, _, err = command("ingest", source=path)
    assert code == 3
    assert "empty" in err


def test_a_wrong_header_ends_with_code_3_and_names_the_column(command, tmp_path):
    path = tmp_path / "header.csv"
    path.write_text("user,item,stars,when\nu1,i1,5,1500000000\n")
    code, _, err = command("ingest", source=path)
    assert code == 3
    assert "user_id" in err
    assert "stars" in err


def test_a_mistyped_key_ends_with_code_2_and_names_the_nearest(command, ratings):
    code, _, err = command("run", source=ratings, settings=["objective.rnk=8"])
    assert code == 2
    assert "objective.rank" in err


def test_a_missing_source_ends_with_code_2(command, tmp_path):
    code, _, err = command("ingest", source=tmp_path / "nowhere.csv")
    assert code == 2
    assert "does not exist" in err


@pytest.mark.parametrize("address", ["nowhere://shop/a.csv", "s3a://shop/a.csv"])
def test_a_file_system_that_is_not_there_ends_with_code_2_and_the_cure(command, address):
    code, _, err = command("ingest", source=address)
    assert code == 2
    assert "--packages" in err


@pytest.mark.parametrize("words", [["nonsense"], ["run", "--nonsense"], ["show"]])
def test_wrong_usage_ends_with_code_2(words):
    assert main(words) == 2


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_end_with_code_0(words, capsys):
    assert main(words) == 0
    assert capsys.readouterr().out


def test_a_path_that_leaves_the_root_is_refused(command):
    code, _, err = command("path", "../secrets")
    assert code == 2
    assert "letters" in err


def test_path_of_an_unpublished_table_names_the_cure(command, ratings):
    command("ingest", source=ratings)
    code, out, err = command("path", "interactions")
    assert code == 2
    assert out == ""
    assert "recsys-spark publish" in " ".join(err.split())


def test_failed_runs_leave_their_state(command, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("user_id,item_id,rating,timestamp\n")
    command("run", "--run-id", "night", source=path)
    status = json.loads((tmp_path / "root/runs/night/_STATUS.json").read_text())
    assert (status["state"], status["exit_code"], status["stage"]) == ("failed", 3, "ingest")


def test_unreachable_cluster_ends_with_the_code_for_schedulers(
    command, ratings, tmp_path, monkeypatch
):
    def lose(*_, **__):
        raise RuntimeError(
            "org.apache.spark.SparkException: ExecutorLostFailure of db://me:secret@host/x"
        )

    monkeypatch.setattr(runner, "ingest", lose)
    code, _, err = command("ingest", "--run-id", "night", source=ratings)
    status = json.loads((tmp_path / "root/runs/night/_STATUS.json").read_text())
    assert (code, status["exit_code"]) == (75, 75)
    assert "try again" in err
    assert "ExecutorLostFailure" in status["reason"]
    assert "secret" not in err + status["reason"]


def test_json_logs_are_json_lines(command, ratings):
    code, _, err = command("ingest", "--log-format", "json", "--quiet", source=ratings)
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert {"ts", "level", "logger", "msg", "context"} <= set(events[0])
    assert any(event["context"].get("stage") == "ingest" for event in events)


def test_config_prints_the_effective_configuration_with_secrets_masked(capsys):
    assert main(["config", "--set", "spark.conf.spark.x.password=hunter2"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "ials" in out
