"""Text that every Python brings along."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.data.source import ArraySource, Source
from runner.data.spec import Data
from runner.errors import Invalid


@dataclass(frozen=True, kw_only=True)
class Pydoc(Data):
    """Characters of Python's own documentation, to predict the next one (no download).

    The text is ``pydoc_data.topics`` in sorted order, cut into blocks of ``context + 1`` characters
    that do not overlap; the parts are made of blocks. It belongs to one version of Python: 3.11.7
    brings 464,970 characters.

    x: int32 [context], the ASCII codes of a block but the last; "?" stands for all else.
    y: int32 [context], the character after each of these.
    """

    context: int = 128
    """Number of characters the model sees."""
    shape: list[int] = field(default_factory=lambda: [128])
    """Always [context]."""
    outputs: int = 128
    """Number of ASCII codes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape != [self.context]:
            raise Invalid("shape", self.shape, f"give [{self.context}], the context")

    def load(self) -> dict[str, Source]:
        """The sources of the three parts."""
        from pydoc_data.topics import topics

        import numpy as np

        text = "".join(topics[name] for name in sorted(topics))
        codes = np.frombuffer(text.encode("ascii", errors="replace"), np.uint8)
        length = self.context + 1
        blocks = codes[: len(codes) // length * length].reshape(-1, length)
        rows = self.split.rows(len(blocks))
        return {part: ArraySource(blocks[:, :-1], blocks[:, 1:], rows[part]) for part in rows}
