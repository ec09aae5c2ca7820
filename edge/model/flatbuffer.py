"""Reads a FlatBuffer by its field numbers, without a schema and without trusting it."""

from __future__ import annotations

import mmap
import struct
from typing import Optional, Union

Buffer = Union[bytes, mmap.mmap]
_READS = 2  # each byte of a vector once, and again where writers share strings


class Table:
    """A FlatBuffer table, read by field number; absent fields give 0, "", nothing or None.

    Every access is checked and raises `struct.error` when it leads out of the file, or when more is read than the
    file can hold: vectors that a damaged file lays over each other must not fill the memory.
    """

    __slots__ = ("_allowance", "_buffer", "_position", "_vtable")

    def __init__(self, buffer: Buffer, position: int, allowance: list[int]) -> None:
        self._buffer = buffer
        self._position = position
        self._allowance = allowance  # bytes of vectors that may still be read; one item, shared by all tables
        self._vtable = position - struct.unpack_from("<i", buffer, position)[0]
        if self._vtable < 0:
            raise struct.error("vtable before the start of the file")

    @classmethod
    def root(cls, buffer: Buffer) -> Table:
        """The table that a FlatBuffer starts with."""
        return cls(buffer, _u32(buffer, 0), [_READS * len(buffer)])

    def _field(self, number: int) -> int:
        slot = 4 + 2 * number
        if slot + 2 > _u16(self._buffer, self._vtable):
            return 0
        offset = _u16(self._buffer, self._vtable + slot)
        return self._position + offset if offset else 0

    def _target(self, number: int) -> int:
        position = self._field(number)
        return position + _u32(self._buffer, position) if position else 0

    def _number(self, number: int, code: str, default: int = 0) -> int:
        position = self._field(number)
        return int(struct.unpack_from(code, self._buffer, position)[0]) if position else default

    def int8(self, number: int) -> int:
        return self._number(number, "<b")

    def uint8(self, number: int) -> int:
        return self._number(number, "<B")

    def int32(self, number: int, default: int = 0) -> int:
        return self._number(number, "<i", default)

    def uint32(self, number: int) -> int:
        return self._number(number, "<I")

    def uint64(self, number: int) -> int:
        return self._number(number, "<Q")

    def string(self, number: int) -> str:
        return self.raw(number).decode("utf-8", "replace")

    def span(self, number: int, item_bytes: int = 1) -> tuple[int, int]:
        """Where a vector's content lies in the file, start and end in bytes; nothing of it is read."""
        position = self._target(number)
        if not position:
            return 0, 0
        start = position + 4
        end = start + _u32(self._buffer, position) * item_bytes
        if end > len(self._buffer):
            raise struct.error("vector past the end of the file")
        return start, end

    def raw(self, number: int, item_bytes: int = 1) -> bytes:
        start, end = self.span(number, item_bytes)
        self._allowance[0] -= end - start
        if self._allowance[0] < 0:
            raise struct.error("vectors lie over each other")
        return bytes(self._buffer[start:end])

    def ints(self, number: int) -> tuple[int, ...]:
        return tuple(int(value) for (value,) in struct.iter_unpack("<i", self.raw(number, 4)))

    def longs(self, number: int) -> tuple[int, ...]:
        return tuple(int(value) for (value,) in struct.iter_unpack("<q", self.raw(number, 8)))

    def floats(self, number: int) -> tuple[float, ...]:
        return tuple(float(value) for (value,) in struct.iter_unpack("<f", self.raw(number, 4)))

    def table(self, number: int) -> Optional[Table]:
        position = self._target(number)
        return Table(self._buffer, position, self._allowance) if position else None

    def tables(self, number: int) -> list[Table]:
        start, _ = self.span(number, 4)
        offsets = struct.iter_unpack("<I", self.raw(number, 4))
        positions = (start + 4 * index + offset for index, (offset,) in enumerate(offsets))
        return [Table(self._buffer, position, self._allowance) for position in positions]

    def item(self, number: int, index: int) -> Table:
        """One of the tables in a vector, without a look at the others; `IndexError` where there are fewer."""
        start, end = self.span(number, 4)
        if not 0 <= index < (end - start) // 4:
            raise IndexError(f"item {index} of a vector of {(end - start) // 4}")
        position = start + 4 * index
        return Table(self._buffer, position + _u32(self._buffer, position), self._allowance)


def _u16(buffer: Buffer, position: int) -> int:
    return int(struct.unpack_from("<H", buffer, position)[0])


def _u32(buffer: Buffer, position: int) -> int:
    return int(struct.unpack_from("<I", buffer, position)[0])
