"""Number arrays packed in one go: the driver's own dumper takes each element by itself, which shows in every batch."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format


class PackedArray:
    """A one-dimensional array without NULLs in PostgreSQL's binary form."""

    __slots__ = ("data",)
    element_oid = 0
    array_oid = 0
    code = ""
    size = 0

    def __init__(self, values: Sequence[float]) -> None:
        count = len(values)
        if not count:
            self.data = struct.pack("!iii", 0, 0, self.element_oid)
            return
        flat: list[float] = [self.size] * (2 * count)
        flat[1::2] = values
        self.data = struct.pack(f"!iiiii{f'i{self.code}' * count}", 1, 0, self.element_oid, count, 1, *flat)


class Int8Array(PackedArray):
    """int8[]."""

    __slots__ = ()
    element_oid, array_oid, code, size = 20, 1016, "q", 8


class Int4Array(PackedArray):
    """int4[]."""

    __slots__ = ()
    element_oid, array_oid, code, size = 23, 1007, "i", 4


class Float8Array(PackedArray):
    """float8[]."""

    __slots__ = ()
    element_oid, array_oid, code, size = 701, 1022, "d", 8


def _dumper(kind: type[PackedArray]) -> type[Dumper]:
    class PackedDumper(Dumper):
        format = Format.BINARY
        oid = kind.array_oid

        def dump(self, obj: PackedArray) -> Buffer:
            return obj.data

    return PackedDumper


def register(connection: psycopg.Connection[object]) -> None:
    """Lets the connection take packed arrays as parameters."""
    for kind in (Int8Array, Int4Array, Float8Array):
        connection.adapters.register_dumper(kind, _dumper(kind))
