"""Handwritten digits, small enough to come with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.data.source import ArraySource, Source
from runner.data.spec import Data


@dataclass(frozen=True, kw_only=True)
class Digits(Data):
    """1,797 grey images of handwritten digits, from scikit-learn's ``load_digits`` (no download).

    x: float32 [8, 8, 1] in [0, 1], in steps of 1/16. y: int32 [], the digit.
    Source: the test set of the UCI "Optical Recognition of Handwritten Digits".
    """

    shape: list[int] = field(default_factory=lambda: [8, 8, 1])
    """Height, width, channels."""
    outputs: int = 10
    """Number of classes."""

    def load(self) -> dict[str, Source]:
        """The sources of the three parts."""
        import numpy as np
        from sklearn.datasets import load_digits

        digits = load_digits()
        x = (digits.images / 16.0).astype(np.float32)[..., None]
        rows = self.split.rows(len(x))
        return {part: ArraySource(x, digits.target, rows[part]) for part in rows}
