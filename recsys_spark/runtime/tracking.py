"""Tracking is a port: stages hand over values, and MLflow mirrors them if it can.

The files of the run's folder are the truth. A server that does not answer is given up after the
first failure, which costs seconds, unless the configuration requires it.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from recsys_spark.config import USE_INSTEAD, Tracking, is_plain_folder, mask
from recsys_spark.errors import ConfigError, TransientError
from recsys_spark.runtime.log import Log
from recsys_spark.storage.store import local_folder

_TAG = "recsys_spark.run_id"
_VARIABLE = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_KIND = ("mlflow.experimentKind", "custom_model_development")  # the view that it opens in
_LONGEST = 6000  # characters of a parameter
_AT_ONCE = 1000  # figures that MLflow takes in one call
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


class Tracker(Protocol):
    """What a run reports: parameters once, metrics by step, small files, and how it ended."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; those recorded before stay as they are."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record figures, by sweep or final."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Record fingerprints, versions, pointers."""

    def dataset(self, name: str, address: str, digest: str) -> None:
        """Name what the run was made from."""

    def artifact(self, name: str, text: str) -> None:
        """Keep a small text file."""

    def finish(self, status: str) -> None:
        """Set the state: RUNNING, or at the end FINISHED, FAILED or KILLED."""


class NullTracker:
    """Tracks nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Ignore."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Ignore."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Ignore."""

    def dataset(self, name: str, address: str, digest: str) -> None:
        """Ignore."""

    def artifact(self, name: str, text: str) -> None:
        """Ignore."""

    def finish(self, status: str) -> None:
        """Ignore."""


def open_tracker(
    config: Tracking, root: str, run_id: str, log: Log, parent: str | None = None
) -> Tracker:
    """The tracker of the configuration, continuing the MLflow run of this run id if it exists.

    parent: the run id that a new one is a child of. Raises ConfigError if tracking is required and
    the environment names a plain folder, TransientError if it is required and away.
    """
    uri = tracking_uri(config, root)
    if uri is not None:
        return MlflowTracker(config, uri, run_id, log, parent)
    if config.backend != "none":
        named = mask(os.environ[_VARIABLE])
        message = f"MLFLOW_TRACKING_URI is {named}, a plain folder, which MLflow 3 refuses"
        if config.required:
            raise ConfigError(f"{message}; tracking.required is true: unset it or {USE_INSTEAD}.")
        log.warning(f"{message}: nothing is tracked; unset it or {USE_INSTEAD}.")
    return NullTracker()


def tracking_uri(config: Tracking, root: str) -> str | None:
    """The configured server, the environment's, or sqlite under a local root; None: no tracking."""
    if config.backend == "none":
        return None
    named = config.uri or os.environ.get(_VARIABLE)
    if not named:
        folder = (local_folder(root) or Path()).absolute()
        return f"{_SQLITE}{folder}/mlflow.db"
    allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    return named if allowed or not is_plain_folder(named) else None


def preload(config: Tracking, root: str) -> None:
    """Load MLflow and bring its database up to date, which takes seconds in a first run.

    What fails is not reported: `open_tracker` does the same again, and reports it.
    """
    uri = tracking_uri(config, root)
    if uri is not None:
        with suppress(Exception):
            _client(uri)


class MlflowTracker:
    """Mirrors to MLflow; silent after the first failure unless tracking is required."""

    def __init__(
        self, config: Tracking, uri: str, run_id: str, log: Log, parent: str | None = None
    ) -> None:
        self.config, self.uri, self.run_id, self.log = config, uri, run_id, log
        self.parent = parent
        self._client: Any = None
        self._run = ""
        self._params: dict[str, str] = {}
        self._guard("open", self._open)

    def _open(self) -> None:
        from mlflow.tracking.context.registry import resolve_tags

        client = _client(self.uri)
        found = client.get_experiment_by_name(self.config.experiment)
        experiment = found.experiment_id if found else self._create_experiment(client)
        if found and _KIND[0] not in found.tags:
            client.set_experiment_tag(experiment, *_KIND)
        run = _find(client, experiment, self.run_id)
        if run is None:
            tags = resolve_tags({_TAG: self.run_id})  # user, program, commit
            above = _find(client, experiment, self.parent) if self.parent else None
            if above is not None:
                tags["mlflow.parentRunId"] = above.info.run_id
            run = client.create_run(experiment, tags=tags, run_name=self.run_id)
        self._params, self._run, self._client = dict(run.data.params), run.info.run_id, client

    def _create_experiment(self, client: Any) -> str:
        place = None
        if self.uri.startswith(_SQLITE):
            folder = Path(self.uri.removeprefix(_SQLITE)).absolute().parent
            place = (folder / "mlflow-artifacts").as_uri()
        name, tags = self.config.experiment, dict([_KIND])
        return str(client.create_experiment(name, artifact_location=place, tags=tags))

    def _guard(self, action: str, call: Callable[[], object]) -> None:
        if self._client is None and action != "open":
            return
        try:
            call()
        except Exception as error:
            self._client = None
            message = f"MLflow at {mask(self.uri)} does not answer ({action}: {_first_line(error)})"
            if self.config.required:
                raise TransientError(f"{message}; tracking.required is true.") from error
            self.log.warning(f"{message}; the run goes on and its folder keeps everything.")

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters that this run does not have yet."""
        new = {
            key: str(value)[:_LONGEST] for key, value in values.items() if key not in self._params
        }
        self._params |= new
        self._guard("params", lambda: self._batch(params=new))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record figures; MLflow's names allow no '@'."""
        clean = {key.replace("@", "_at_"): float(value) for key, value in values.items()}
        self._guard("metrics", lambda: self._batch(metrics=clean, step=step or 0))

    def tags(self, values: Mapping[str, str]) -> None:
        """Record fingerprints, versions, pointers."""
        self._guard("tags", lambda: self._batch(tags=dict(values)))

    def _batch(
        self,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        import time

        from mlflow.entities import Metric, Param, RunTag

        stamp = int(time.time() * 1000)
        figures = [Metric(key, value, stamp, step) for key, value in (metrics or {}).items()]
        self._client.log_batch(
            self._run,
            params=[Param(key, value) for key, value in (params or {}).items()],
            metrics=figures[:_AT_ONCE],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )
        for start in range(_AT_ONCE, len(figures), _AT_ONCE):
            self._client.log_batch(self._run, metrics=figures[start : start + _AT_ONCE])

    def artifact(self, name: str, text: str) -> None:
        """Keep a small text file."""
        self._guard("artifact", lambda: self._client.log_text(self._run, text, name))

    def dataset(self, name: str, address: str, digest: str) -> None:
        """Name an input with our own digest of it, which MLflow keeps at most 36 characters of."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": mask(address)})
        used = DatasetInput(
            Dataset(name, digest[:36], "uri", source), [InputTag("mlflow.data.context", "training")]
        )
        self._guard("dataset", lambda: self._client.log_inputs(self._run, [used]))

    def finish(self, status: str) -> None:
        """Set the state of the run; its time ends with it, unless it is running."""
        if status == "RUNNING":
            self._guard("finish", lambda: self._client.update_run(self._run, status=status))
        else:
            self._guard("finish", lambda: self._client.set_terminated(self._run, status))


def _client(uri: str) -> Any:
    """Of the server, or of the database, which is created if it is not there."""
    for key, value in _PATIENCE.items():
        os.environ.setdefault(key, value)
    import logging

    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow"):  # the first use of a database logs its migrations
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri.startswith(_SQLITE):
        Path(uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri)


def _find(client: Any, experiment: str, run_id: str) -> Any:
    """MLflow's record of our run, or None."""
    found = client.search_runs([experiment], f"tags.`{_TAG}` = '{run_id}'", max_results=1)
    return found[0] if found else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
