"""All that can go wrong with the files of a checkpoint, one damage after the other.

Every function is given the files of a directory and the name of the newest checkpoint in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Files: TypeAlias = dict[str, bytes]
Damage: TypeAlias = dict[str, bytes | None]
"""New contents of files; None for one that is not there any more."""

DATA, INDEX, MANIFEST = ".data-00000-of-00001", ".index", ".json"
ENDINGS = (DATA, INDEX, MANIFEST)


def bits(whole: Files, newest: str) -> Iterator[Damage]:
    """Every single one."""
    for name, content in _files(whole, newest):
        yield from ({name: one} for one in flipped(content))


def lengths(whole: Files, newest: str) -> Iterator[Damage]:
    """Cut off after any byte."""
    for name, content in _files(whole, newest):
        yield from ({name: content[:size]} for size in range(len(content)))


def zeros(whole: Files, newest: str) -> Iterator[Damage]:
    """From any byte on, as after a power cut, and up to any byte."""
    for name, content in _files(whole, newest):
        for at in range(len(content)):
            yield {name: content[:at] + bytes(len(content) - at)}
            yield {name: bytes(at + 1) + content[at + 1 :]}


def tails(whole: Files, newest: str) -> Iterator[Damage]:
    """Bytes that do not belong there, at the end."""
    for name, content in _files(whole, newest):
        for tail in (b"\0", b"\n", b"}", b"more", bytes(4096), content):
            yield {name: content + tail}


def exchanges(whole: Files, newest: str) -> Iterator[Damage]:
    """Files of two checkpoints in each other's place, or one over the other; two of one as well."""
    names = sorted({name.partition(".")[0] for name in whole if "." in name})
    for one, other in itertools.combinations(names, 2):
        for endings in _subsets(ENDINGS):
            ours = {one + ending: whole[other + ending] for ending in endings}
            theirs = {other + ending: whole[one + ending] for ending in endings}
            yield from ({**ours, **theirs}, dict(ours), dict(theirs))
    for one, other in itertools.permutations(ENDINGS, 2):
        yield {newest + one: whole[newest + other], newest + other: whole[newest + one]}


def losses(whole: Files, newest: str) -> Iterator[Damage]:
    """Of one, and of all that are there; a manifest that is lost alone is another matter."""
    names = sorted(name for name in whole if "." in name)
    for endings in [*_subsets((DATA, INDEX)), ENDINGS]:
        yield {newest + ending: None for ending in endings}
        yield {name: None for name in names if name.endswith(endings)}


def _files(whole: Files, newest: str) -> list[tuple[str, bytes]]:
    return [(newest + ending, whole[newest + ending]) for ending in ENDINGS]


def flipped(content: bytes) -> Iterator[bytes]:
    """With every single bit the other way round."""
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def _subsets(endings: Sequence[str]) -> list[tuple[str, ...]]:
    sizes = range(1, len(endings) + 1)
    return [one for size in sizes for one in itertools.combinations(endings, size)]
