"""Lines of text files, whatever they are packed and written in.

Plain files and gz, bz2 and zst by their names are read by Spark, in blocks. What Spark has no
reader for (members of zip archives, UTF-16, compressed files of another name, names that Spark
skips) is read by a Python task for each file.
"""

import bz2
import codecs
import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote as quoted

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, LongType, StringType, StructField, StructType

from recsys_spark.arrow import local_frame
from recsys_spark.errors import ContractError
from recsys_spark.io.files import Found, SourceFile
from recsys_spark.io.filesystem import FileSystem, LocalFiles, RangeFile
from recsys_spark.workers import map_in_arrow

_LINES = StructType(
    [
        StructField("raw", StringType()),
        StructField("source_file", StringType()),
        StructField("block", LongType()),
    ]
)
_FILES = StructType([StructField("path", StringType()), StructField("content", BinaryType())])
_HEAD = 1 << 16  # bytes that a file is judged by
_SMALL = 32 << 20  # bytes up to which the driver reads a file as a whole
_MOST_LOOKED_AT = 50  # files that are not of this machine
_AT_ONCE = 10_000  # lines of a batch
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_SUFFIXES = {"gzip": (".gz",), "bz2": (".bz2",), "zstd": (".zst",)}
_OTHERS = {
    b"PAR1": "a Parquet file: set {section}.format: parquet",
    b"ORC": "an ORC file, which is not read: write it as Parquet",
    b"Obj\x01": "an Avro file, which is not read: write it as Parquet",
    b"SQLite format 3": "a database of SQLite: export its table as CSV",
    b"%PDF": "a PDF document",
}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DAMAGED = "recsys_spark cannot read on in"


@dataclass(frozen=True)
class Form:
    """How a file is packed (none, gzip, bz2, zstd or zip), and the encoding of its text."""

    packed: str
    encoding: str


@dataclass(frozen=True)
class TextFiles:
    """The text files behind a setting. section: the setting that has the format and encoding."""

    found: Found
    section: str
    forms: dict[SourceFile, Form]

    def head(self, file: SourceFile, lines: int) -> list[str]:
        """The first lines of a file that are not blank, without a byte order mark."""
        form = self.forms[file]
        try:
            raw = RangeFile(self.found.system, file.entry)
            with unpacked(io.BufferedReader(raw, _HEAD), form.packed, file.member) as stream:
                texts = (_text(line) for line in _decoded(stream, form.encoding))
                return list(islice((text for text in texts if text.strip()), lines))
        except (EOFError, OSError, zipfile.BadZipFile) as error:
            raise ContractError(f"{file.name} ({self.found.key}) is cut off: {error}.") from None

    def holds(self, mark: str) -> bool | None:
        """Whether the text has a mark; None unless it is one small file, as it is, of this machine.

        It spares a Spark job, which takes a second where the JVM has just started.
        """
        file, *others = self.found.files
        as_it_is = self.forms[file] == Form("none", "utf-8")
        if others or not as_it_is or file.entry.size > _SMALL or not _is_here(self.found.system):
            return None
        return mark.encode() in self.found.system.read(file.entry.path, 0, file.entry.size)

    def only(self, files: list[SourceFile]) -> "TextFiles":
        """The same for some of the files."""
        found = Found(self.found.key, self.found.path, self.found.system, files)
        return TextFiles(found, self.section, {file: self.forms[file] for file in files})


def look_at(found: Found, section: str, encoding: str) -> TextFiles:
    """The forms of the files, judged by how they begin.

    Raises ContractError for a file that is no text, saying what it is.
    """
    looked = set(found.files if _is_here(found.system) else found.files[:_MOST_LOOKED_AT])
    forms = {
        file: _form(found, section, file, encoding) if file in looked else _named(file, encoding)
        for file in found.files
    }
    return TextFiles(found, section, forms)


def _is_here(system: FileSystem) -> bool:
    return isinstance(system, LocalFiles)


def _named(file: SourceFile, encoding: str) -> Form:
    """The form that the name promises."""
    suffixes = ((p, s) for p, known in _SUFFIXES.items() for s in known)
    packed = next((p for p, s in suffixes if file.entry.path.lower().endswith(s)), "none")
    return Form(packed, encoding)


def _form(found: Found, section: str, file: SourceFile, encoding: str) -> Form:
    begin = found.system.read(file.entry.path, 0, 16)
    packed = next((name for mark, name in _PACKED.items() if begin.startswith(mark)), "none")
    if packed == "zip" and not file.member:
        raise ContractError(
            f"{file.name} ({found.key}) is a zip archive among other files: unpack it there."
        )
    head = _first_bytes(found, file, packed)
    other = next((what for mark, what in _OTHERS.items() if head.startswith(mark)), None)
    if other is not None:
        what = other.format(section=section)
        raise ContractError(f"{file.name} ({found.key}) is no text but {what}.")
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), encoding)
    if b"\0" in head and not marked.startswith(("utf-16", "utf-32")):
        raise ContractError(
            f"{file.name} ({found.key}) is no text in {encoding}: it holds zero bytes. If it is "
            f"UTF-16, set {section}.encoding: utf-16-le (or utf-16-be)."
        )
    return Form(packed, marked)


def _first_bytes(found: Found, file: SourceFile, packed: str) -> bytes:
    raw = io.BufferedReader(RangeFile(found.system, file.entry), _HEAD)
    try:
        with unpacked(raw, packed, file.member) as stream:
            return stream.read(_HEAD)
    except (EOFError, OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise ContractError(f"{file.name} ({found.key}) is cut off or damaged: {error}.") from None


def unpacked(raw: IO[bytes], packed: str, member: str = "") -> IO[bytes]:
    """The bytes of a packed file, as a stream."""
    opened: Any = raw
    if packed == "gzip":
        opened = gzip.GzipFile(fileobj=raw)
    elif packed == "bz2":
        opened = bz2.BZ2File(raw)
    elif packed == "zstd":
        opened = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
    elif packed == "zip":
        opened = zipfile.ZipFile(raw).open(member)  # noqa: SIM115 - the caller closes it
    stream: IO[bytes] = opened
    return stream


def read_lines(spark: SparkSession, text: TextFiles) -> DataFrame:
    """Columns raw, source_file (an address) and block: where in its file a run of lines begins.

    raw is UTF-8; text that is not what its encoding says is left as bytes that are none.
    """
    by_spark = [file for file in text.found.files if _for_spark(file, text.forms[file])]
    streamed = [file for file in text.found.files if file not in set(by_spark)]
    frames = [_spark_lines(spark, text, by_spark)] if by_spark else []
    frames += [_streamed_lines(spark, text, streamed)] if streamed else []
    lines = reduce(DataFrame.unionByName, frames)
    return lines.withColumn("raw", _without_mark(F.col("raw")))


def _without_mark(raw: Column) -> Column:
    """Without a byte order mark; the bytes of the rest stay as they are."""
    return F.when(raw.startswith("\ufeff"), F.expr("substring(raw, 2)")).otherwise(raw)


def _for_spark(file: SourceFile, form: Form) -> bool:
    name = file.entry.path.split("/")[-1]
    return (
        not file.member
        and not name.startswith(("_", "."))
        and ":" not in name
        and form.packed == _named(file, form.encoding).packed
        and not form.encoding.startswith(("utf-16", "utf-32", "utf-7", "iso2022", "hz"))
    )


def _spark_lines(spark: SparkSession, text: TextFiles, files: list[SourceFile]) -> DataFrame:
    reader = spark.read.option("__globPaths__", "false")  # they exist: no pattern is meant
    metadata = F.col("_metadata")
    lines = reader.text([text.found.system.address(file.entry.path) for file in files]).select(
        F.col("value").alias("raw"),
        metadata["file_path"].alias("source_file"),
        metadata["file_block_start"].alias("block"),
    )
    encoding = text.forms[files[0]].encoding
    if encoding == "utf-8":
        return lines
    binary = lines.withColumn("raw", F.col("raw").cast("binary"))
    return map_in_arrow(binary, _decoding(encoding), _LINES)


Batches = Iterable[pa.RecordBatch]


def _decoding(encoding: str) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def decode(batches: Batches) -> Iterator[pa.RecordBatch]:
        errors = _errors(encoding)
        for batch in batches:
            texts = [line.decode(encoding, errors) for line in batch["raw"].to_pylist()]
            raw = [text.encode("utf-8", "surrogateescape") for text in texts]
            yield _batch(raw, batch["source_file"], batch["block"])

    return decode


def _batch(texts: list[bytes], names: pa.Array, blocks: pa.Array) -> pa.RecordBatch:
    """Bytes as text, unchecked: what is not UTF-8 is found by the rules."""
    raw = pa.array(texts, pa.binary()).view(pa.string())
    return pa.RecordBatch.from_arrays([raw, names, blocks], names=["raw", "source_file", "block"])


def _decoded(stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    """The lines as UTF-8, without their ends."""
    reader: Any = stream
    for line in io.TextIOWrapper(reader, encoding, _errors(encoding)):
        yield line.removesuffix("\n").encode("utf-8", "surrogateescape")


def _errors(encoding: str) -> str:
    """The handler by which a byte that is no text becomes 0xFF, or stays as it is."""
    codecs.register_error("recsys_spark", lambda error: ("\udcff", _end(error)))
    return "surrogateescape" if encoding == "utf-8" else "recsys_spark"


def _end(error: UnicodeError) -> int:
    assert isinstance(error, UnicodeDecodeError)
    return error.end


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removeprefix("\ufeff")


def _streamed_lines(spark: SparkSession, text: TextFiles, files: list[SourceFile]) -> DataFrame:
    paths = sorted({file.entry.path for file in files})
    forms = {
        path: [(file.member, text.forms[file]) for file in files if file.entry.path == path]
        for path in paths
    }
    if _is_here(text.found.system):
        rows = local_frame(spark, [{"path": path, "content": None} for path in paths], _FILES)
        rows = rows.repartition(len(paths), "path")
    else:
        reader = spark.read.format("binaryFile").option("__globPaths__", "false")
        rows = reader.load(paths).select("path", "content")
    return map_in_arrow(rows, _streaming(forms), _LINES)


def _streaming(
    forms: dict[str, list[tuple[str, Form]]],
) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    names = ("path", "content")

    def stream_files(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, content in zip(*(batch[c].to_pylist() for c in names), strict=True):
                for member, form in forms[path]:
                    yield from _line_batches(_opened(path, content), path, member, form)

    return stream_files


def _opened(path: str, content: bytes | None) -> IO[bytes]:
    return Path(path).open("rb") if content is None else io.BytesIO(content)


def _line_batches(raw: IO[bytes], path: str, member: str, form: Form) -> Iterator[pa.RecordBatch]:
    name = f"{path}/{member}" if member else path
    address = quoted(name, safe="/:=")
    try:
        with raw, unpacked(raw, form.packed, member) as stream:
            lines = _decoded(stream, form.encoding)
            while texts := list(islice(lines, _AT_ONCE)):
                names = pa.array([address] * len(texts), pa.string())
                yield _batch(texts, names, pa.array([0] * len(texts), pa.int64()))
    except (EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{_DAMAGED} {name}: {error}") from error
