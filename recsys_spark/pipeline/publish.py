"""Wiring of publish: let readers see the run's tables."""

from recsys_spark.pipeline.context import Run, Summary
from recsys_spark.pipeline.stage_graph import TABLES


def publish(run: Run) -> Summary:
    """Swap the pointer of every table that the recommendations were made from, theirs last."""
    evaluated = run.runs.stage(run.lineage["train"], "evaluate")
    if evaluated is not None:
        run.lineage["evaluate"] = evaluated.run_id
    versions: dict[str, str] = {}
    for table in (table for tables in TABLES.values() for table in tables):
        version = run.version(table)
        if version is not None and run.tables.manifest(table, version) is not None:
            versions[table] = version
    for table, version in versions.items():
        run.tables.activate(table, version)
    run.log.info(f"published run {versions['recommendations']} ({len(versions)} tables)")
    run.tracker.tags({"published": versions["recommendations"]})
    return {"tables": versions}
