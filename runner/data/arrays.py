"""Your own arrays, from .npy and .npz files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.data.source import ArraySource, Source
from runner.data.spec import Data
from runner.errors import Invalid, shown

if TYPE_CHECKING:
    from runner.data.npy import ArrayFile


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where the examples of one part are; paths as in ``Arrays``."""

    x: str
    """Examples, [n, *shape]."""
    y: str
    """Labels or targets, [n, ...]."""


@dataclass(frozen=True, kw_only=True)
class Arrays(Data):
    """Arrays on disk: ``path/to/file.npy``, or ``path/to/file.npz:member``.

    Relative paths start at the working directory. Files are memory-mapped, so they may be larger
    than memory; only members of a compressed .npz (``np.savez_compressed``) are read into memory.

    x: float32 or int32, as ``ArraySource`` says. y: int32 labels, or float32 targets [n, outputs].
    """

    x: str
    """Examples, [n, *shape]."""
    y: str
    """Labels in [0, outputs) if integers, targets if floats; [n, ...]."""
    validation: Files | None = None
    """Files of the validation part; null splits it off x and y. If given, split.validation is 0."""
    test: Files | None = None
    """Files of the test part; null splits it off x and y. If given, split.test is 0."""
    scale: float | None = None
    """Multiplies x, which then is float32; null leaves x as it is."""

    def own_parts(self) -> frozenset[str]:
        """The parts that have files of their own."""
        return frozenset(self._files()) - {"train"}

    def check(self) -> None:
        """Read the headers of all files, no more.

        Raises:
            Invalid: a file or member is missing, or does not fit ``shape`` or its partner.
        """
        for x, y in self._files().values():
            self._check_pair(x, y)

    def load(self) -> dict[str, Source]:
        """The sources of the three parts."""
        import numpy as np

        self.check()
        arrays = {part: (x.open(), y.open()) for part, (x, y) in self._files().items()}
        sources: dict[str, Source] = {}
        x, y = arrays.pop("train")
        for part, rows in self.split.rows(len(x)).items():
            sources[part] = ArraySource(x, y, rows, scale=self.scale)
        for part, (x, y) in arrays.items():
            sources[part] = ArraySource(x, y, np.arange(len(x)), scale=self.scale)
        return sources

    def _files(self) -> dict[str, tuple[ArrayFile, ArrayFile]]:
        """x and y of the parts that have files."""
        from runner.data.npy import ArrayFile

        files = {"train": (ArrayFile("x", self.x), ArrayFile("y", self.y))}
        for part, own in (("validation", self.validation), ("test", self.test)):
            if own is not None:
                files[part] = (ArrayFile(f"{part}.x", own.x), ArrayFile(f"{part}.y", own.y))
        return files

    def _check_pair(self, x: ArrayFile, y: ArrayFile) -> None:
        num_x, *shape = x.header().shape
        num_y, *_ = y.header().shape
        if shape != self.shape:
            reason = f"an example in {x.reference} is {shown(shape)}; give that"
            raise Invalid("shape", self.shape, reason)
        if num_x != num_y:
            counts = f"has {num_y} examples and {x.reference} has {num_x}"
            raise Invalid(y.field, y.reference, f"{counts}; give files that belong together")
