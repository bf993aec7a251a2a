"""Batch recommendations on Apache Spark: events in, per-user top-N tables out.

`from recsys_spark import WALS, WALSModel` gives the Spark ML estimator; the names are loaded at
first use, so that importing the package does no work.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_spark.ml.estimator import WALS
    from recsys_spark.ml.model import WALSModel

__version__ = "0.2.0"
__all__ = ["WALS", "WALSModel", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "WALS":
        from recsys_spark.ml.estimator import WALS

        return WALS
    if name == "WALSModel":
        from recsys_spark.ml.model import WALSModel

        return WALSModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
