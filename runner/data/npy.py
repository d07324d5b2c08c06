"""Arrays on disk, looked at without being read: ``path/file.npy`` or ``path/file.npz:member``."""

from __future__ import annotations

import difflib
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from runner.errors import DataError, Invalid, suggestion

_UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)
_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


class Header(NamedTuple):
    """What the head of a .npy file or member says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int | None
    """Byte of the file at which the numbers start; None if they are compressed."""


@dataclass(frozen=True)
class ArrayFile:
    """An array on disk. Its errors are ``Invalid(field, reference, ...)``."""

    field: str
    """Where in the config the reference stands: "x" or "test.x"."""
    reference: str
    """``path/file.npy`` or ``path/file.npz:member``."""

    def header(self) -> Header:
        """What the array is; nothing more is read.

        Raises:
            Invalid: there is no such file, member, or complete array of numbers.
        """
        path, member = self._locate()
        try:
            header = _npy_header(path) if member is None else _npz_header(path, member)
        except _UNREADABLE as error:
            raise self._invalid(f"{path} cannot be read ({error}); write it again") from error
        if header.dtype.kind not in "biuf" or not header.shape:
            held = f"{path} holds {header.dtype} {list(header.shape)}"
            raise self._invalid(f"{held}; give an array of numbers, one row an example")
        num_bytes = math.prod(header.shape) * header.dtype.itemsize
        if header.offset is not None and header.offset + num_bytes > path.stat().st_size:
            raise self._invalid(f"{path} is cut off; copy or write it again")
        return header

    def open(self) -> np.ndarray:
        """The array, memory-mapped and read-only; a compressed member is read into memory.

        Raises:
            DataError: a compressed member is damaged.
            Invalid: as ``header``.
        """
        header = self.header()
        path, member = self._locate()
        if header.offset is None:
            return _decompressed(path, member)
        return np.memmap(
            path,
            dtype=header.dtype,
            mode="r",
            offset=header.offset,
            shape=header.shape,
            order=header.order,
        )

    def _locate(self) -> tuple[Path, str | None]:
        """The absolute path, and which member it is in a .npz."""
        name, _, member = self.reference.partition(".npz:")
        path = Path(f"{name}.npz" if member else self.reference).expanduser().absolute()
        if path.suffix not in (".npy", ".npz"):
            raise self._invalid("give path/to/file.npy or path/to/file.npz:member")
        if not path.is_file():
            raise self._invalid(f"there is no file {path}; {_nearest(path)}")
        if path.suffix == ".npy":
            return path, None
        members = self._members(path)
        if member not in members:
            raise self._invalid(f"{path} has no member {member!r}; {suggestion(member, members)}")
        return path, member

    def _members(self, path: Path) -> list[str]:
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except _UNREADABLE as error:
            raise self._invalid(f"{path} cannot be read ({error}); write it again") from error
        return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]

    def _invalid(self, reason: str) -> Invalid:
        return Invalid(self.field, self.reference, reason)


def _nearest(path: Path) -> str:
    there = sorted(file.name for file in path.parent.glob("*.np[yz]"))
    nearest = difflib.get_close_matches(path.name, there, n=1, cutoff=0)
    return f"did you mean {nearest[0]}?" if nearest else "give one that exists"


def _npy_header(path: Path) -> Header:
    with path.open("rb") as stream:
        return _parsed(stream, start=0)


def _npz_header(path: Path, member: str) -> Header:
    with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as stream:
        info = archive.getinfo(f"{member}.npy")
        stored = info.compress_type == zipfile.ZIP_STORED
        return _parsed(stream, start=_data_start(path, info) if stored else None)


def _parsed(stream: IO[bytes], *, start: int | None) -> Header:
    """The header that ``stream`` begins with; ``start`` is the byte of the file this is at."""
    version = npy_format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise ValueError(f"npy format {version} is for structured arrays")
    shape, fortran_order, dtype = _HEADER_READERS[version](stream)
    offset = None if start is None else start + stream.tell()
    return Header(shape, dtype, "F" if fortran_order else "C", offset)


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Byte at which a member starts: after a local header that ends in two fields of any length."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name_bytes, extra_bytes = struct.unpack("<26x2H", file.read(30))
    return int(info.header_offset + 30 + name_bytes + extra_bytes)


def _decompressed(path: Path, member: str | None) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as stream:
            array: np.ndarray = npy_format.read_array(stream, allow_pickle=False)
            return array
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read ({error}); write it again") from error
