"""What tells whether data are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.data.source import Source, whole

if TYPE_CHECKING:
    from runner.data.source import Examples

_MOST_BYTES = 16 << 20
_EXAMPLES = 256
_DIGITS = 16


def digests(sources: Mapping[str, Source]) -> dict[str, str]:
    """A hash of the examples of each part, as a step gets them.

    Of a part with more than 16 MB, or one that does not offer all of them at once, it is of 256 examples
    that are spread over it, and of how many there are.
    """
    return {part: _digest(source) for part, source in sources.items()}


def _digest(source: Source) -> str:
    examples = whole(source, most_bytes=_MOST_BYTES) or _spread(source)
    found = hashlib.sha256(str(len(source)).encode())
    for name, values in sorted(examples.items()):
        found.update(f"{name} {values.dtype.str} {values.shape}".encode())
        found.update(values.tobytes())
    return found.hexdigest()[:_DIGITS]


def _spread(source: Source) -> Examples:
    import numpy as np

    count = min(len(source), _EXAMPLES)
    return source.take(np.linspace(0, len(source) - 1, count).astype(np.int64))
