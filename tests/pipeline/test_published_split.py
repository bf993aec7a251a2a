"""A published split runs through, and its table is what the files say."""

import pyarrow.parquet as pq
import pytest

from recsys_spark.errors import ConfigError, ContractError
from recsys_spark.kernels.metrics.ranking import METRICS
from recsys_spark.pipeline.runner import Options, run_stages
from recsys_spark.pipeline.stage_graph import STAGES
from recsys_spark.runtime.log import Log
from recsys_spark.settings import load_config

EVALUATED = STAGES[:4]
USERS, ITEMS = 30, 25


def held_out(user):
    return {(user * 7 + step) % ITEMS for step in (0, 3)}


def trained(user):
    return {item for item in range(ITEMS) if (user * 5 + item * item) % 3} - held_out(user)


@pytest.fixture
def run(spark, tmp_path):
    def run_(*settings, stages=EVALUATED):
        base = [
            f"paths.root={tmp_path / 'root'}",
            "objective.rank=4",
            "objective.iterations=2",
            "evaluate.resamples=0",
            "evaluate.baselines=[popularity, item_knn]",
            "tracking.backend=none",
            *(f"split.predefined.{part}={tmp_path / part}" for part in ("train", "test")),
        ]
        config = load_config(["conf/predefined_split.yaml"], [*base, *settings])
        return run_stages(config, stages, Options(run_id="given"), Log([]))

    return run_


@pytest.fixture
def table(tmp_path):
    def read(name):
        return pq.read_table(tmp_path / "root/tables" / name / "versions/given").to_pylist()

    return read


def write_adjacency(folder, train=trained, test=held_out):
    for name, items in (("train", train), ("test", test)):
        lines = (" ".join(map(str, [user, *sorted(items(user))])) for user in range(USERS))
        (folder / name).write_text("\n".join(lines) + "\n")


def pairs_of(rows, table):
    ids = {
        side: {r["index"]: int(r["id"]) for r in table(f"{side}_ids")} for side in ("user", "item")
    }
    return {(ids["user"][row["user"]], ids["item"][row["item"]]) for row in rows}


def test_published_split_has_the_rows_of_the_files(run, table, tmp_path):
    write_adjacency(tmp_path)
    summary = run("split.predefined.format=adjacency").records["split"].summary
    for part, items in (("train", trained), ("test", held_out)):
        expected = {(user, item) for user in range(USERS) for item in items(user)}
        assert pairs_of(table(part), table) == expected
        assert summary["rows"][part] == len(expected)
    assert (summary["in_both"], summary["dropped"]) == (0, 0)
    metrics = table("metrics")
    ranking = [r for r in metrics if r["metric"] in METRICS and r["segment"] == "all"]
    assert {row["users"] for row in ranking} == {USERS}
    assert {row["k"] for row in metrics} == {5, 10, 20, 50, 100, None}
    assert {row["split"] for row in metrics} == {"test"}


def test_a_share_of_every_user_s_training_rows_validates(run, table, tmp_path):
    write_adjacency(tmp_path)
    run(
        "split.predefined.format=adjacency", "split.predefined.validation=0.2", stages=EVALUATED[:2]
    )
    kept, cut = (pairs_of(table(part), table) for part in ("train", "validation"))
    assert kept.isdisjoint(cut)
    assert kept | cut == {(user, item) for user in range(USERS) for item in trained(user)}
    for user in range(USERS):
        assert sum(owner == user for owner, _ in cut) == round(0.2 * len(trained(user)))


def test_a_pair_in_both_files_is_reported_and_stays_in_both(run, table, tmp_path):
    write_adjacency(
        tmp_path, train=lambda user: trained(user) | held_out(user) if user == 3 else trained(user)
    )
    summary = (
        run("split.predefined.format=adjacency", stages=EVALUATED[:2]).records["split"].summary
    )
    assert summary["in_both"] == len(held_out(3)) == 2
    both = pairs_of(table("train"), table) & pairs_of(table("test"), table)
    assert both == {(3, item) for item in held_out(3)}


def test_test_items_are_ranked_among_negatives(run, table, tmp_path):
    """Protocols of their own: beside four negatives a relevant item is among the first five."""
    lines, given = {"train": [], "test": [], "negatives": []}, 0
    known = {item for user in range(USERS) for item in trained(user) | {min(held_out(user))}}
    for user in range(USERS):
        one = min(held_out(user))
        lines["train"] += [f"{user}\t{item}\t1\t1000\n" for item in sorted(trained(user))]
        lines["test"].append(f"{user}\t{one}\t1\t2000\n")
        others = sorted(known - trained(user) - {one})[:4]
        given += len(others)
        lines["negatives"].append(f"({user},{one})\t" + "\t".join(map(str, [*others, 999])) + "\n")
    for name, text in lines.items():
        (tmp_path / name).write_text("".join(text))
    run(
        "split.predefined.format=triples",
        f"split.predefined.negatives={tmp_path / 'negatives'}",
        "evaluate.sampled_negatives=4",
    )
    rows = {(r["split"], r["model"], r["metric"], r["k"]): r["value"] for r in table("metrics")}
    for among in ("test_among_negatives", "test_among_4_sampled"):
        for model in ("model", "popularity"):
            assert rows[among, model, "hit_rate", 5] == 1.0
            assert 0.2 <= rows[among, model, "mrr", 5] <= 1.0
            assert rows["test", model, "mrr", 20] <= rows[among, model, "mrr", 20]
        assert rows["test", "popularity", "mrr", 20] < rows[among, "popularity", "mrr", 20]
    assert len(table("negatives")) == given


def test_a_line_that_breaks_stops_the_run(run, tmp_path):
    """A published split is read whole or not at all."""
    (tmp_path / "train").write_text("".join(f"{user}\t2\t3\t4\n" for user in range(40)) + "1\n")
    (tmp_path / "test").write_text("1\t3\t3\t5\n")
    with pytest.raises(ContractError, match=r"1 rows rejected \(allowed 0\)"):
        run(stages=EVALUATED[:1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["split.method=random"], r"predefined has no effect with method: random"),
        (["split.test_fraction=0.3"], r"test_fraction has no effect with method: predefined"),
        (
            ["ingest.source.path=x.csv"],
            r"ingest\.source has no effect with split\.method: predefined",
        ),
    ],
)
def test_settings_without_effect_are_refused(run, settings, words):
    with pytest.raises(ConfigError, match=words):
        run(*settings)
