"""Tables of this machine, in which Arrow looks rows up without a session."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from recsys_spark.storage.store import open_store
from recsys_spark.storage.tables import Tables


def local_tables(root: str) -> Tables:
    """The tables under a local root, for lookups without a Spark session.

    Parameters
    ----------
    root : str
        A folder of this machine.

    Returns
    -------
    Tables
        Resolves versions; its `read` fails, as it needs a session.

    Raises
    ------
    ConfigError
        For a root that Spark would read as a pattern of names, or of an unknown user or machine.
    """

    def no_session() -> Any:
        raise AssertionError("a local root needs no session")

    return Tables(open_store(root, no_session))


def open_version(tables: Tables, table: str, run_id: str) -> ds.Dataset:
    """A version as an Arrow dataset, which reads only the rows and columns of a query.

    Parameters
    ----------
    tables : Tables
        From `local_tables`.
    table : str
        Name of the table.
    run_id : str
        The version, such as `tables.current(table)`.

    Returns
    -------
    pyarrow.dataset.Dataset
        The Parquet files of the version.

    Raises
    ------
    ConfigError
        For a name that cannot be a folder's name everywhere.
    """
    folder = tables.store.uri(tables.path(table, run_id))
    return ds.dataset(folder, format="parquet", exclude_invalid_files=True)


def one_of(data: ds.Dataset, column: str, ids: Iterable[str]) -> ds.Expression:
    """Whether a row's id is one of these, which people write as text.

    The ids are compared in the column's own type, so that parts of files are skipped whose
    least and greatest ids rule them out.
    """
    kind = data.schema.field(column).type
    typed = [found for text in ids if (found := _typed(text, kind)) is not None]
    return ds.field(column).isin(pa.array(typed, kind))


def _typed(text: str, kind: pa.DataType) -> pa.Scalar | None:
    """None where no id of this type is written so."""
    try:
        return pa.scalar(text).cast(kind)
    except pa.ArrowInvalid:
        return None
