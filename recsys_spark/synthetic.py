"""Invented ratings with known truth: to try the pipeline at any size, and to test it.

Every row is a function of the seed and its ids, so the same configuration gives the same rows on
any cluster. `interactions` is met to about one in a hundred, within these bounds: each user has at
least one row and at most a quarter of the items (more if the total needs it), so that fewer
interactions than users give one row a user, and more than users * items give every pair once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, DataType, DoubleType, StringType, StructField, StructType

from recsys_spark.arrow import arrow_schema, list_array, make_batch
from recsys_spark.config import Generate
from recsys_spark.kernels import synthetic
from recsys_spark.kernels.synthetic import Population, Sample, Stream, Truth
from recsys_spark.kernels.threads import single_threaded
from recsys_spark.workers import map_in_arrow

MEAN_RATING = synthetic.MEAN_RATING
"""An explicit rating before noise, rounding and clipping is this + bias_u + bias_i + x.y; stars."""

Ints = npt.NDArray[np.int64]
Columns = dict[str, Any]
MakeColumns = Callable[[Generate, Ints], Columns]
Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _strings(*names: str) -> StructType:
    return StructType([StructField(name, StringType()) for name in names])


def _truth_schema(name: str) -> StructType:
    kinds: list[tuple[str, DataType]] = [
        (name, StringType()),
        ("bias", DoubleType()),
        ("factors", ArrayType(DoubleType())),
    ]
    return StructType([StructField(*kind) for kind in kinds])


RATINGS = _strings("user_id", "item_id", "rating", "timestamp")
ITEMS = _strings("item_id", "title", "genres")
USERS = _strings("user_id", "age_group", "country", "favourite_genre")
USER_TRUTH = _truth_schema("user_id")
ITEM_TRUTH = _truth_schema("item_id")

_BROKEN = ("word", "no_user", "nan", "out_of_range", "future")
_FAR_FUTURE = "4102444800"  # the year 2100
_IDS_PER_PARTITION = 1_000_000  # of the tables of users and items

# Genre and its own nouns, no noun twice: a title then says what it is, and titles stay distinct.
_NOUNS = {
    "Action": "Pursuit Strike Convoy Outlaw Bullet Rampart Commando Ambush",
    "Animation": "Teapot Dragonfly Toymaker Penguin Acorn Puppet Balloon Hedgehog",
    "Comedy": "Wedding Holiday Neighbour Butler Recipe Roommate Parade Mishap",
    "Crime": "Heist Alibi Informer Verdict Racket Detective Ransom Forger",
    "Documentary": "Glacier Orchestra Expedition Reef Archive Harvest Migration Workshop",
    "Drama": "Harbor Letter Orchard Daughter Promise Winter Inheritance Silence",
    "Fantasy": "Wizard Crown Unicorn Oracle Kingdom Amulet Giant Labyrinth",
    "Horror": "Crypt Whisper Scarecrow Cellar Asylum Séance Moor Lantern",
    "Musical": "Serenade Cabaret Tango Encore Melody Chorus Waltz Overture",
    "Romance": "Kiss Bouquet Rendezvous Sweetheart Summer Proposal Embrace Longing",
    "Science Fiction": "Orbit Android Nebula Starship Colony Signal Paradox Comet",
    "Western": "Saloon Canyon Sheriff Stagecoach Mustang Prairie Homestead Drifter",
}
_GENRES = tuple(_NOUNS)
_GENRE_NOUNS = tuple(tuple(nouns.split()) for nouns in _NOUNS.values())
_ADJECTIVES_TEXT = (
    "Silent Crimson Forgotten Golden Hidden Restless Broken Distant Electric Gentle Hollow "
    "Iron Lonely Midnight Northern Painted Quiet Reckless Secret Shining Stolen Tangled Velvet "
    "Wandering Wild Wicked Endless Burning Frozen Lucky Perfect Strange"
)
_ADJECTIVES = tuple(_ADJECTIVES_TEXT.split())
_PLACES = ("Lisbon", "Kyoto", "Havana", "Tromsø", "Cairo", "Verona", "Quito", "Dakar")
_ENDINGS = ("", *(f" {word} {place}" for word in ("of", "in", "from") for place in _PLACES))
_FIRST_YEAR, _YEARS = 1960, 64
_AGE_GROUPS = ("under 18", "18-24", "25-34", "35-44", "45-54", "55 and over")
_COUNTRIES = ("BR", "CA", "DE", "ES", "FR", "GB", "IN", "JP", "KE", "MX", "NO", "US")


@dataclass(frozen=True)
class Generated:
    """Lazily computed tables; `ratings` holds the broken rows too, all of its columns strings."""

    ratings: DataFrame
    items: DataFrame
    users: DataFrame
    user_truth: DataFrame
    item_truth: DataFrame


def generate(spark: SparkSession, config: Generate) -> Generated:
    """Invent a data set; nothing is computed before a table is used.

    ratings: user_id, item_id, rating, timestamp (seconds since 1970); items: item_id, title,
    genres joined by |; users: user_id and attributes; truths: id, bias (stars), factors (rank).
    """
    ratings = map_in_arrow(
        spark.range(0, config.users, 1, config.partitions),
        _ratings_task(config, arrow_schema(RATINGS)),
        RATINGS,
    )
    return Generated(
        ratings=ratings,
        items=_table(spark, config, config.items, item_columns, ITEMS),
        users=_table(spark, config, config.users, user_columns, USERS),
        user_truth=_table(spark, config, config.users, user_truth_columns, USER_TRUTH),
        item_truth=_table(spark, config, config.items, item_truth_columns, ITEM_TRUTH),
    )


def population(config: Generate) -> Population:
    """The kernels' view of the configuration."""
    shared = {"users", "items", "interactions", "rank", "noise", "user_skew", "item_skew", "seed"}
    return Population(explicit=config.kind == "explicit", **config.model_dump(include=shared))


def _table(
    spark: SparkSession, config: Generate, size: int, columns: MakeColumns, schema: StructType
) -> DataFrame:
    partitions = -(-size // _IDS_PER_PARTITION)
    task = _columns_task(config, columns, arrow_schema(schema))
    return map_in_arrow(spark.range(0, size, 1, partitions), task, schema)


def _columns_task(config: Generate, columns: MakeColumns, schema: pa.Schema) -> Task:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with single_threaded():
            for ids in _ids(batches):
                yield make_batch(schema, columns(config, ids))

    return run


def _ratings_task(config: Generate, schema: pa.Schema) -> Task:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with single_threaded():
            for columns in rating_columns(config, _ids(batches)):
                yield make_batch(schema, columns)

    return run


def _ids(batches: Iterator[pa.RecordBatch]) -> Iterator[Ints]:
    for batch in batches:
        if batch.num_rows:
            yield batch.column(0).to_numpy()


def rating_columns(config: Generate, batches: Iterator[Ints]) -> Iterator[Columns]:
    """Columns of RATINGS, slice by slice, for batches of ascending users."""
    people = population(config)
    catalog = synthetic.catalog(people)
    scale = synthetic.activity_scale(people)
    item_ids = item_id(np.arange(config.items))
    for ids in batches:
        for sample in synthetic.sample(people, catalog, scale, ids):
            yield _rating_slice(config, sample, item_ids)


def _rating_slice(config: Generate, sample: Sample, item_ids: pa.Array) -> Columns:
    users, row_user = np.unique(sample.user, return_inverse=True)
    columns = {
        "user_id": user_id(users).take(pa.array(row_user)),
        "item_id": item_ids.take(pa.array(sample.item)),
        "rating": _value_text(config, sample.value),
        "timestamp": pa.array(sample.timestamp).cast(pa.string()),
    }
    if config.bad_fraction == 0:
        return columns
    row, kind = synthetic.broken_copies(config.seed, sample.user, config.bad_fraction, len(_BROKEN))
    copied = {name: column.take(pa.array(row)) for name, column in columns.items()}
    return _damage(config, copied, kind)


def _value_text(config: Generate, value: npt.NDArray[np.float64]) -> pa.Array:
    if config.kind == "implicit":
        return pa.array(value.astype(np.int64)).cast(pa.string())
    stars = pa.array([str(half / 2) for half in range(11)])
    return stars.take(pa.array((2 * value).astype(np.int64)))


def _damage(config: Generate, columns: Columns, kind: Ints) -> Columns:
    """The columns with one field spoilt in each row of a kind that is not -1."""
    outside = "11.0" if config.kind == "explicit" else "-1"  # a count of 11 would be fine
    spoilt = {
        "word": ("rating", "five"),
        "no_user": ("user_id", ""),
        "nan": ("rating", "NaN"),
        "out_of_range": ("rating", outside),
        "future": ("timestamp", _FAR_FUTURE),
    }
    for number, name in enumerate(_BROKEN):
        column, text = spoilt[name]
        columns[column] = pc.if_else(pa.array(kind == number), text, columns[column])
    return columns


def user_id(index: Ints) -> pa.Array:
    """Ids such as u000123; longer ones need no padding."""
    return _name("u", index, 6)


def item_id(index: Ints) -> pa.Array:
    """Ids such as i00045; longer ones need no padding."""
    return _name("i", index, 5)


def _name(letter: str, index: Ints, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(index).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")


def user_columns(config: Generate, ids: Ints) -> Columns:
    """Columns of USERS; age group and country are independent of taste."""
    age, country = synthetic.choice(
        config.seed, Stream.USER_ATTRIBUTES, ids, 2, (len(_AGE_GROUPS), len(_COUNTRIES))
    )
    genre = synthetic.user_truth(population(config), ids).genre
    return {
        "user_id": user_id(ids),
        "age_group": [_AGE_GROUPS[k] for k in age],
        "country": [_COUNTRIES[k] for k in country],
        "favourite_genre": [_GENRES[k] for k in genre],
    }


def item_columns(config: Generate, ids: Ints) -> Columns:
    """Columns of ITEMS."""
    truth = synthetic.item_truth(population(config), ids)
    genres = [
        _GENRES[first] + (f"|{_GENRES[second]}" if second >= 0 else "")
        for first, second in zip(truth.genre, truth.second, strict=True)
    ]
    return {"item_id": item_id(ids), "title": _titles(config, ids, truth.genre), "genres": genres}


def _titles(config: Generate, ids: Ints, genre: Ints) -> list[str]:
    """Distinct titles such as "The Silent Harbor (1994)"; a sequel's number where words run out."""
    sizes = (len(_ADJECTIVES), len(_GENRE_NOUNS[0]), len(_ENDINGS), _YEARS)
    space = int(np.prod(sizes))
    words = synthetic.permute(config.seed, Stream.TITLE, ids % space, space)
    digits = np.stack([*np.unravel_index(words, sizes), genre, ids // space], axis=1)
    return [_title(*row) for row in digits.tolist()]


def _title(adjective: int, noun: int, ending: int, year: int, genre: int, sequel: int) -> str:
    number = f" {sequel + 1}" if sequel else ""
    words = f"{_ADJECTIVES[adjective]} {_GENRE_NOUNS[genre][noun]}{_ENDINGS[ending]}"
    return f"The {words}{number} ({_FIRST_YEAR + year})"


def user_truth_columns(config: Generate, ids: Ints) -> Columns:
    """Columns of USER_TRUTH."""
    truth = synthetic.user_truth(population(config), ids)
    return {"user_id": user_id(ids), **_truth_columns(truth)}


def item_truth_columns(config: Generate, ids: Ints) -> Columns:
    """Columns of ITEM_TRUTH."""
    truth = synthetic.item_truth(population(config), ids)
    return {"item_id": item_id(ids), **_truth_columns(truth)}


def _truth_columns(truth: Truth) -> Columns:
    rank, rows = truth.factors.shape
    values = pa.array(truth.factors.T.ravel())
    return {"bias": truth.bias, "factors": list_array(np.arange(rows + 1) * rank, values)}
