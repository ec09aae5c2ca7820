"""Writes the tables of a journal as CSV, JSON lines or Parquet, without holding all of them in memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Optional

import msgspec
import numpy as np

from edge.errors import ConfigError
from edge.extras import how_to_install
from edge.report.exports.exported import INTEGER, JSON, NUMBER, TABLES, TEXT, UTC, Columns, Table
from edge.report.reading import Reader

FORMATS = ("csv", "jsonl", "parquet")


def write(journal: Path, table: str, form: str, out: BinaryIO) -> int:
    """Write a table.

    Args:
        journal: also one that is being written.
        table: one of `exported.TABLES`.
        form: one of `FORMATS`.
        out: what to write to; Parquet is not text.

    Returns:
        The number of rows.

    Raises:
        JournalError: the journal cannot be read.
        ConfigError: the format needs a package that is not installed.
    """
    writer = _csv if form == "csv" else _json_lines if form == "jsonl" else _parquet
    with Reader(journal) as reader:
        return writer(TABLES[table], TABLES[table].read(reader), out)


def _csv(table: Table, chunks: Iterator[Columns], out: BinaryIO) -> int:
    rows = 0
    written = _csv_of([list(table.kinds)])
    for chunk in chunks:
        out.write(written)
        columns = [_as_text(kind, column) for kind, column in zip(table.kinds.values(), chunk)]
        written = _csv_of(zip(*columns))
        rows += len(columns[0])
    out.write(written)
    return rows


def _csv_of(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _json_lines(table: Table, chunks: Iterator[Columns], out: BinaryIO) -> int:
    encoder = msgspec.json.Encoder()
    rows = 0
    for chunk in chunks:
        columns = [_iso(column) if kind == UTC else column for kind, column in zip(table.kinds.values(), chunk)]
        out.write(encoder.encode_lines([dict(zip(table.kinds, row)) for row in zip(*columns)]))
        rows += len(columns[0])
    return rows


def _parquet(table: Table, chunks: Iterator[Columns], out: BinaryIO) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"Parquet needs {error.name}, which is not installed: {how_to_install('parquet')}; or take csv or jsonl."
        ) from None
    types = {
        UTC: pa.timestamp("ns", "UTC"),
        INTEGER: pa.int64(),
        NUMBER: pa.float64(),
        TEXT: pa.string(),
        JSON: pa.string(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in table.kinds.items()])
    rows = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for chunk in chunks:
            columns = [_json(column) if kind == JSON else column for kind, column in zip(table.kinds.values(), chunk)]
            arrays = [pa.array(column, types[kind]) for kind, column in zip(table.kinds.values(), columns)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            rows += len(columns[0])
    return rows


def _as_text(kind: str, column: Sequence[Any]) -> Sequence[Any]:
    if kind == UTC:
        return _iso(column)
    return _json(column) if kind == JSON else column


def _iso(column: Sequence[Optional[int]]) -> list[Optional[str]]:
    """ISO 8601 to the microsecond."""
    moments = np.array([0 if each is None else each for each in column], np.int64).astype("datetime64[ns]")
    texts = np.datetime_as_string(moments, "us", "UTC").tolist()
    return [None if each is None else text for each, text in zip(column, texts)]


def _json(column: Sequence[Any]) -> list[str]:
    return [msgspec.json.encode(each).decode() for each in column]
