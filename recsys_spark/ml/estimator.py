"""`WALS`: the Spark ML estimator, a drop-in for `pyspark.ml.recommendation.ALS`."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame, SparkSession

from recsys_spark.als import parquet_spill
from recsys_spark.als.execution_plan import Plan
from recsys_spark.als.trainer import Factorization, fit_factors
from recsys_spark.errors import ConfigError, settings_named
from recsys_spark.ml.columns import id_type, whole_ids
from recsys_spark.ml.model import WALSModel
from recsys_spark.ml.params import PARAMETERS, EstimatorParams
from recsys_spark.schema import require_spark
from recsys_spark.spark_internals import with_uid


class WALS(
    Estimator[WALSModel], EstimatorParams, DefaultParamsReadable["WALS"], DefaultParamsWritable
):
    """Weighted alternating least squares: the Spark ML estimator of every published objective.

    For a user with observed items S, item factors Y and N items (items are the mirror image) a
    half-sweep solves

        (Y' diag(w0) Y + sum_S a_j y_j y_j' + L I) x = sum_S b_j y_j,   L = lambda (n + beta N)^nu

    `fit(dataset)` takes a DataFrame with a row an interaction and returns a `WALSModel`. Several
    rows of a pair add up. Parameters left at None take the value of the preset; those that the
    objective does not use are refused, and so are those that only MLlib's ALS has, naming their
    counterpart. `p` has the setter `setP` and the getter `getP`, as in MLlib.

    Parameters
    ----------
    objective : str
        Preset: ials, hu2008, mllib (MLlib's implicit objective), mllib_explicit (its explicit one),
        explicit, implicit, irspack, lenskit, lenskit_explicit or tf_wals.
    rank : int, optional
        Length d of a factor vector (64).
    maxIter : int, optional
        Number of sweeps over both sides (15).
    unobservedWeight : float, optional
        Weight w0 of unobserved pairs, 0 or more.
    userUnobservedExponent, itemUnobservedExponent : float, optional
        Power of the user's or item's frequency in w0, whose mean stays; eALS: 0.4 to 0.5 of items.
    weighting : str, optional
        Confidence c of value r. binary: 1; linear: alpha r; log: alpha ln(1 + r / epsilon); power:
        alpha r^exponent; bm25 and tfidf: alpha times implicit's weights of that name.
    alpha : float, optional
        Scale of every weighting but binary.
    epsilon : float, optional
        Scale of r in log weights, above 0, in units of r.
    exponent : float, optional
        Power of r in power weights.
    bm25K1 : float, optional
        Where bm25 weights level off, 0 or more.
    bm25B : float, optional
        Discount of frequent items in bm25 weights, 0 to 1.
    userFrequencyExponent, itemFrequencyExponent : float, optional
        Power of the user's or item's frequency in c, whose mean stays; below 0 frequent ones count
        less.
    halfLifeDays : float, optional
        Age at which c has fallen to a half, in days, above 0; needs timestampCol.
    decayReference : str, optional
        Time from which ages count, ISO 8601, UTC; None: the newest training row.
    minPositiveValue : float, optional
        Values below are dislikes, with target 0; None: those of 0 or below are.
    negativeAlpha : float, optional
        alpha of dislikes, 0 or more; None: alpha.
    confidence : str, optional
        extra: a = c, on top of w0; total: a = c - w0.
    target : str, optional
        weight: b = a; unit: target 1; value: target r.
    regParam : float, optional
        Strength lambda of the L2 penalty, 0 or more.
    userRegParam, itemRegParam : float, optional
        lambda of one side; None: regParam.
    nu : float, optional
        Exponent of the penalty in the row's length n + beta N.
    beta : float, optional
        Share of N, the size of the other side, in that length.
    counted : str, optional
        What n counts: all rows, positive ones, or the sum of weights a (all, positive, weights).
    nuStar : float, optional
        lambda is rescaled to weigh as much as at this nu; None: it is not.
    biases : str, optional
        Of ratings: none, learned (with the factors), means or damped (subtracted before training).
    biasDamping : float, optional
        Number of average ratings that damped biases begin with.
    clip : list of float, optional
        Range [low, high] of predictions, in units of the ratings.
    order : str, optional
        First side of a sweep: users_first or items_first.
    init : str, optional
        Initial factors: normal, unit_norm, uniform or squared_normal, a function of seed and id.
    initScale : float, optional
        normal: standard deviation times sqrt(rank); uniform: upper end; squared_normal: standard
        deviation before squaring.
    nonnegative : bool, optional
        Keep every factor at 0 or above.
    seed : int, optional
        Seed of the initial factors (42).
    userCol, itemCol : str
        Columns of the ids: whole numbers of any numeric type, also doubles of StringIndexer.
    ratingCol : str
        Column of the values r, numeric; '': every row counts 1.
    weightCol : str, optional
        Column that multiplies c, numeric.
    targetCol : str, optional
        Column of the targets, in place of those of `target`.
    timestampCol : str, optional
        Column of the times: timestamps, dates, or seconds since 1970.
    predictionCol : str
        Column that the model's `transform` adds: predictions, float.
    coldStartStrategy : str
        Predictions of ids without factors: nan, or drop the row.
    numItems : int
        Number of items that `transform` lists for each row's user, without the user's training
        items; 0: no lists.
    recommendationsCol : str
        Column of these lists: `array<struct<item, rating float>>`, best first.
    numBlocks : int
        Number of blocks of either side; 0: by the size of the data.
    solver : str
        cholesky (exact), cg (conjugate gradients), subspace (iALS++), or auto.
    cgSteps : int, optional
        Steps a row of cg (3).
    subspaceBlock : int, optional
        Coordinates a block of subspace (64).
    placement : str
        Where the factors are: driver, replicated (broadcast to every host), sharded (shuffled to
        the blocks that need them), or auto. The first two give the same bits.
    **others
        Not accepted: parameters of other names are refused.

    Raises
    ------
    UnknownParameterError
        For a parameter that does not exist, naming its counterpart or the nearest name.
    ConfigError
        For a value that a parameter does not take, when it is set; by `fit`, for a parameter
        without effect under this objective, or factors that exceed the broadcast budget.
    ContractError
        By `fit`, for data that is no DataFrame of Spark, a column that is missing or of another
        type, ids that are not whole numbers, and values that are null, NaN or infinite.
    SolveError
        By `fit`, for a singular row, for scores that are all 0, or for numbers that are not finite
        in the first sweep.

    References
    ----------
    pyspark.ml.recommendation.ALS, whose parameter names these are. Rendle, Krichene, Zhang, Koren,
    "Revisiting the performance of iALS on item recommendation benchmarks" (2021), equations 1 to
    5: ials. Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets" (2008),
    equation 3: hu2008. Zhou et al., "Large-scale parallel collaborative filtering for the Netflix
    prize" (2008): mllib_explicit. He et al., "Fast matrix factorization for online recommendation
    with implicit feedback" (2016): itemUnobservedExponent. Rendle et al., "iALS++" (2021):
    subspace. docs/objectives.md has the equation of every preset.

    Examples
    --------
    >>> from recsys_spark import WALS
    >>> events = spark.createDataFrame(
    ...     [(u, i, 1.0) for u in range(6) for i in range(6) if (u + i) % 2],
    ...     "user int, item int, rating double",
    ... )
    >>> model = WALS(rank=2, maxIter=2, regParam=0.01).fit(events)
    >>> len(model.lossHistory)
    2
    >>> model.recommendForAllUsers(3, exclude=events).count()
    6
    """

    @keyword_only
    def __init__(
        self,
        *,
        objective: str = "ials",
        rank: int | None = None,
        maxIter: int | None = None,
        unobservedWeight: float | None = None,
        userUnobservedExponent: float | None = None,
        itemUnobservedExponent: float | None = None,
        weighting: str | None = None,
        alpha: float | None = None,
        epsilon: float | None = None,
        exponent: float | None = None,
        bm25K1: float | None = None,
        bm25B: float | None = None,
        userFrequencyExponent: float | None = None,
        itemFrequencyExponent: float | None = None,
        halfLifeDays: float | None = None,
        decayReference: str | None = None,
        minPositiveValue: float | None = None,
        negativeAlpha: float | None = None,
        confidence: str | None = None,
        target: str | None = None,
        regParam: float | None = None,
        userRegParam: float | None = None,
        itemRegParam: float | None = None,
        nu: float | None = None,
        beta: float | None = None,
        counted: str | None = None,
        nuStar: float | None = None,
        biases: str | None = None,
        biasDamping: float | None = None,
        clip: list[float] | None = None,
        order: str | None = None,
        init: str | None = None,
        initScale: float | None = None,
        nonnegative: bool | None = None,
        seed: int | None = None,
        userCol: str = "user",
        itemCol: str = "item",
        ratingCol: str = "rating",
        weightCol: str | None = None,
        targetCol: str | None = None,
        timestampCol: str | None = None,
        predictionCol: str = "prediction",
        coldStartStrategy: str = "nan",
        numItems: int = 0,
        recommendationsCol: str = "recommendations",
        numBlocks: int = 0,
        solver: str = "auto",
        cgSteps: int | None = None,
        subspaceBlock: int | None = None,
        placement: str = "auto",
        **others: Any,
    ) -> None:
        super().__init__()
        self._set_given(self._input_kwargs)

    @keyword_only
    def setParams(self, **kwargs: Any) -> "WALS":
        """Set parameters.

        Parameters
        ----------
        **kwargs
            Any of the constructor's parameters; None leaves one as it is.

        Returns
        -------
        WALS
            This estimator.

        Raises
        ------
        UnknownParameterError
            For a parameter that does not exist, naming its counterpart or the nearest name.
        ConfigError
            For a value that a parameter does not take.
        """
        return self._set_given(self._input_kwargs)

    def _set_given(self, kwargs: dict[str, Any]) -> "WALS":
        given = {
            key: value
            for key, value in kwargs.items()
            if value is not None or not self.hasParam(key)
        }
        return self._set(**given)

    def fitFrom(self, dataset: DataFrame, model: WALSModel) -> WALSModel:
        """Fit, beginning with the factors of an earlier model instead of random ones.

        Factors are matched by id: new ids are initialised, ids without rows are dropped. Far fewer
        sweeps than in a first fit suffice.

        Parameters
        ----------
        dataset : DataFrame
            All training rows, in the columns that `fit` takes.
        model : WALSModel
            The earlier model, with vectors of the length that this objective has.

        Returns
        -------
        WALSModel
            The new model.

        Raises
        ------
        ConfigError
            If the model's vectors have another length, and as `fit` does.
        ContractError, SolveError
            As `fit` does.
        """
        if not isinstance(model, WALSModel):
            raise ConfigError(f"model is a {type(model).__name__}; it must be a WALSModel.")
        start = Factorization(model.known("user"), model.known("item"))
        return self._trained(dataset, start)

    def _fit(self, dataset: DataFrame) -> WALSModel:
        return self._trained(dataset, None)

    @settings_named(PARAMETERS)
    def _trained(self, dataset: DataFrame, start: Factorization | None) -> WALSModel:
        require_spark(dataset, "dataset")
        spec = self.spec()
        spark = dataset.sparkSession
        with _folder(spark) as folder:
            blocks, placement = (
                self.getOrDefault("numBlocks") or None,
                self.getOrDefault("placement"),
            )
            plan = Plan(blocks, solver=self.row_solver(), placement=placement, folder=folder)
            trained = fit_factors(self._ratings(dataset), spec, plan, start=start)
        names = [self.getOrDefault(name) for name in ("userCol", "itemCol")]
        user, item = (id_type(dataset.schema[name].dataType) for name in names)
        model = WALSModel.from_factorization(spark, trained, user, item, spec)
        pairs = (whole_ids(dataset, name) for name in names)
        model.known_pairs = dataset.select(*pairs).toDF("user", "item")
        return self._copyValues(with_uid(model, self.uid))


@contextmanager
def _folder(spark: SparkSession) -> Iterator[str | None]:
    """A folder of this fit's own in the checkpoint directory, if the context has one.

    What stays in it are the factors of the sharded placement, read as long as the model is.
    """
    directory = spark.sparkContext.getCheckpointDir()
    if directory is None:
        yield None
        return
    folder = f"{directory}/wals-{uuid.uuid4().hex}"
    try:
        yield folder
    except BaseException:
        parquet_spill.delete(spark, folder)
        raise
    parquet_spill.delete_empty(spark, folder)
