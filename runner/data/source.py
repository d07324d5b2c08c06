"""Sources: examples by index, in any order."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from runner.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Examples: TypeAlias = "dict[str, np.ndarray]"
"""``{"x": [n, ...], "y": [n, ...]}``, each float32 or int32 and C-contiguous."""

Rows: TypeAlias = "npt.NDArray[np.int64]"
"""Positions of examples, int64 [n]."""


class Source(Protocol):
    """Random access to the examples of one part of a dataset."""

    def __len__(self) -> int: ...

    def take(self, indices: Rows) -> Examples:
        """The examples at ``indices``, each in ``[0, len)``; any order, repeats allowed."""
        ...


def whole(source: Source, *, most_bytes: int) -> Examples | None:
    """All examples of a source that offers them, as `ArraySource.whole` does; None from any other."""
    offered = getattr(source, "whole", None)
    return offered(most_bytes=most_bytes) if offered else None


@dataclass(frozen=True, eq=False)
class ArraySource:
    """The examples at ``rows`` of two arrays, which may be memory-mapped and are never copied.

    Whatever is stored, ``take`` gives two dtypes only: floats become float32, integers and booleans
    int32. Floats ``y`` of shape [n] become [n, 1], so that a target never broadcasts against a
    prediction.
    """

    x: np.ndarray
    """[m, ...], numbers of any dtype."""
    y: np.ndarray
    """[m, ...], labels (integers) or targets (floats)."""
    rows: Rows
    """Which of the m examples are in this source, in its order."""
    _: KW_ONLY
    scale: float | None = None
    """Multiplies x, which then is float32: 1 / 255 takes bytes to [0, 1]."""

    def __len__(self) -> int:
        return len(self.rows)

    def whole(self, *, most_bytes: int) -> Examples | None:
        """All examples as ``take`` gives them; None if they are more than so many bytes."""
        import numpy as np

        example = self.take(np.zeros([1], np.int64)) if len(self) else {}
        num_bytes = sum(value.nbytes for value in example.values()) * len(self)
        return self.take(np.arange(len(self))) if num_bytes <= most_bytes else None

    def take(self, indices: Rows) -> Examples:
        """See ``Source.take``.

        Raises:
            DataError: an integer does not fit int32.
        """
        import numpy as np

        rows = self.rows[indices]
        x, y = self.x[rows], _plain(self.y[rows])
        if self.scale is not None:
            # In two steps: one np.multiply that also casts takes twice as long.
            x = x.astype(np.float32) * np.float32(self.scale)
        is_vector_of_targets = y.ndim == 1 and y.dtype == np.float32
        return {"x": _plain(x), "y": y[:, None] if is_vector_of_targets else y}


@dataclass(frozen=True)
class Head:
    """The first ``count`` examples of another source."""

    source: Source
    count: int

    def __len__(self) -> int:
        return min(self.count, len(self.source))

    def whole(self, *, most_bytes: int) -> Examples | None:
        """See ``ArraySource.whole``."""
        source = self.source
        if isinstance(source, ArraySource):  # Of which the others need not be read.
            source = replace(source, rows=source.rows[: self.count])
        examples = whole(source, most_bytes=most_bytes)
        return examples and {name: values[: len(self)] for name, values in examples.items()}

    def take(self, indices: Rows) -> Examples:
        """See ``Source.take``."""
        return self.source.take(indices)


def _plain(values: np.ndarray) -> np.ndarray:
    """``values`` as float32 or int32, C-contiguous and in native byte order."""
    import numpy as np

    if np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float32, order="C", copy=False)
    plain = values.astype(np.int32, order="C", copy=False)
    # astype wraps around silently.
    if not np.can_cast(values.dtype, np.int32) and not np.array_equal(plain, values):
        raise DataError("the data hold integers beyond 32 bits; renumber them or store floats")
    return plain
