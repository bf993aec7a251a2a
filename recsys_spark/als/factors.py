"""A side's factors: arrays on the driver, or a frame where they are too many for it.

What trains on them, keeps them or ranks by them uses what both have in common.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, FloatType, LongType, StructField, StructType

from recsys_spark.als.packed_interactions import Ids
from recsys_spark.arrow import list_array, list_matrix, list_parts
from recsys_spark.kernels.als.initial_factors import initial_factors
from recsys_spark.kernels.als.spec import SIDES, WalsSpec

Single = npt.NDArray[np.float32]

_NUMBERS = 2**30  # of one array of lists, whose offsets have 32 bits

FEATURES = StructType(
    [StructField("id", LongType()), StructField("features", ArrayType(FloatType()))]
)


class SideFactors(Protocol):
    """The factors of a side, by id."""

    @property
    def width(self) -> int:
        """Length of a vector."""

    def frame(self, spark: SparkSession) -> DataFrame:
        """Columns id (long), features (array<float>)."""

    def arrays(self) -> "Factors":
        """The same on the driver; for a side that may be broadcast."""

    def with_biases(self, side: str, biases: DataFrame) -> "SideFactors":
        """Two more coordinates: the bias of column `bias`, by id, and the one of the other side."""

    def without_biases(self) -> "SideFactors":
        """Without the last two coordinates."""

    def raised(self, by: float) -> "SideFactors":
        """The last coordinate of every vector raised."""


@dataclass(frozen=True)
class Factors:
    """ids: (rows,) ascending; vectors: (rows, width), row for row."""

    ids: Ids
    vectors: Single

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def frame(self, spark: SparkSession) -> DataFrame:
        """Columns id, features, from the driver, in the order of the ids."""
        most = _NUMBERS // self.width
        parts = (
            self.vectors[start : start + most] for start in range(0, max(1, len(self.ids)), most)
        )
        features = pa.chunked_array(
            list_array(np.arange(len(part) + 1) * self.width, pa.array(part.ravel()))
            for part in parts
        )
        return spark.createDataFrame(pa.table({"id": self.ids, "features": features}))

    def arrays(self) -> "Factors":
        """These."""
        return self

    def with_biases(self, side: str, biases: DataFrame) -> "Factors":
        """Two more coordinates; `biases` has every id."""
        table = biases.toArrow().sort_by("id")
        at = np.searchsorted(table["id"].to_numpy(), self.ids)
        bias = table["bias"].to_numpy()[at].astype(np.float32)
        return replace(self, vectors=with_bias(side, self.vectors, bias))

    def without_biases(self) -> "Factors":
        """Without the last two coordinates."""
        return replace(self, vectors=np.ascontiguousarray(self.vectors[:, :-2]))

    def raised(self, by: float) -> "Factors":
        """The last coordinate of every vector raised."""
        vectors = self.vectors.copy()
        vectors[:, -1] += np.float32(by)
        return replace(self, vectors=vectors)


@dataclass(frozen=True)
class FactorFrame:
    """content: columns id (long), features (array<float>), each of `width` numbers."""

    content: DataFrame
    width: int

    def frame(self, spark: SparkSession) -> DataFrame:
        """The content."""
        return self.content

    def arrays(self) -> Factors:
        """The same on the driver, bounded by the broadcast budget."""
        table = self.content.toArrow().sort_by("id")
        vectors = list_matrix(table["features"].combine_chunks(), self.width)
        return Factors(table["id"].to_numpy().astype(np.int64), vectors)

    def with_biases(self, side: str, biases: DataFrame) -> "FactorFrame":
        """Two more coordinates; `biases` has every id."""
        bias, one = F.col("bias").cast("float"), F.lit(1.0).cast("float")
        last = F.array(bias, one) if side == "user" else F.array(one, bias)
        joined = self.content.join(biases.select("id", "bias"), "id")
        features = F.concat("features", last).alias("features")
        return FactorFrame(joined.select("id", features), self.width + 2)

    def without_biases(self) -> "FactorFrame":
        """Without the last two coordinates."""
        features = F.slice("features", 1, self.width - 2)
        return FactorFrame(self.content.withColumn("features", features), self.width - 2)

    def raised(self, by: float) -> "FactorFrame":
        """The last coordinate of every vector raised."""
        last = F.element_at("features", -1) + F.lit(by).cast("float")
        features = F.concat(F.slice("features", 1, self.width - 1), F.array(last))
        return replace(self, content=self.content.withColumn("features", features))


def batch_factors(batch: pa.RecordBatch) -> Factors:
    """The factors of a batch of columns id, features, in its order."""
    _, values = list_parts(batch.column("features"), np.float32)
    ids = batch.column("id").to_numpy(zero_copy_only=False)
    return Factors(ids, values.reshape(len(ids), -1))


def read_factors(frame: DataFrame) -> FactorFrame:
    """Factors of columns id, factors, all of the same length."""
    content = frame.select(F.col("id").cast("long"), F.col("factors").alias("features"))
    first = content.select(F.size("features")).first()
    return FactorFrame(content, first[0] if first else 0)


def factors_frame(spark: SparkSession, factors: SideFactors, id_type: DataType) -> DataFrame:
    """Columns id, of this type, and features."""
    return factors.frame(spark).withColumn("id", F.col("id").cast(id_type))


def with_bias(side: str, vectors: Single, bias: Single) -> Single:
    """(rows, rank) and (rows,) to (rows, rank + 2)."""
    ones = np.ones_like(bias)
    last = (bias, ones) if side == "user" else (ones, bias)
    return np.column_stack([vectors, *last])


def initial_vectors(side: str, ids: Ids, spec: WalsSpec, threads: int = 1) -> Single:
    """What the rows with these ids begin with."""
    vectors = initial_factors(ids, spec, SIDES.index(side), threads)
    if spec.biases == "learned":
        return with_bias(side, vectors, np.zeros(len(ids), np.float32))
    return vectors


def widened(side: str, known: Factors, spec: WalsSpec) -> Factors:
    """Published factors of a rank up to this objective's, with initial values where they end."""
    rank = known.width - (spec.width - spec.rank)
    fresh = initial_factors(known.ids, spec, SIDES.index(side))
    vectors = [known.vectors[:, :rank], fresh[:, rank:], known.vectors[:, rank:]]
    return replace(known, vectors=np.hstack(vectors))


def overwrite_known(ids: Ids, vectors: Single, known: Factors) -> None:
    """Put known vectors in the place of those of the same ids."""
    if len(known.ids):
        at = np.searchsorted(known.ids, ids).clip(max=len(known.ids) - 1)
        found = known.ids[at] == ids
        vectors[found] = known.vectors[at[found]]


def factor_bytes(factors: DataFrame) -> int:
    """The size of factors, columns id, factors, as one matrix."""
    first = factors.select(F.size("factors")).first()
    return 4 * factors.count() * first[0] if first else 0
