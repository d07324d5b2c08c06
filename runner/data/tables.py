"""Tables of measurements, small enough to come with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.data.source import ArraySource, Rows, Source
from runner.data.spec import Data

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class BreastCancer(Data):
    """569 tumours, from scikit-learn's ``load_breast_cancer`` (no download).

    x: float32 [30], standardized by the mean and standard deviation of the train part.
    y: int32 [], 0 malignant, 1 benign.
    Source: UCI "Breast Cancer Wisconsin (Diagnostic)".
    """

    shape: list[int] = field(default_factory=lambda: [30])
    """Number of measurements."""
    outputs: int = 2
    """Number of classes."""

    def load(self) -> dict[str, Source]:
        """The sources of the three parts."""
        from sklearn.datasets import load_breast_cancer

        table = load_breast_cancer()
        rows = self.split.rows(len(table.data))
        x = _standardized(table.data, train=rows["train"])
        return {part: ArraySource(x, table.target, rows[part]) for part in rows}


@dataclass(frozen=True, kw_only=True)
class Diabetes(Data):
    """442 patients and how far their diabetes went in a year, from ``load_diabetes`` (no download).

    x: float32 [10], standardized by the mean and standard deviation of the train part.
    y: float32 [1], standardized in the same way: a mean squared error of 1 is that of always
    answering the mean, and an error of 1 is one standard deviation, about 77 points of the scale
    (25 to 346).
    Source: Efron et al., "Least Angle Regression", Annals of Statistics 32 (2004).
    """

    shape: list[int] = field(default_factory=lambda: [10])
    """Number of measurements."""
    outputs: int = 1
    """Number of targets."""

    def load(self) -> dict[str, Source]:
        """The sources of the three parts."""
        from sklearn.datasets import load_diabetes

        # scaled=True would standardize by all rows, the test part's too.
        table = load_diabetes(scaled=False)
        rows = self.split.rows(len(table.data))
        x = _standardized(table.data, train=rows["train"])
        y = _standardized(table.target[:, None], train=rows["train"])
        return {part: ArraySource(x, y, rows[part]) for part in rows}


def _standardized(values: npt.NDArray[np.float64], *, train: Rows) -> npt.NDArray[np.float32]:
    """``values`` [n, k], each column with mean 0 and deviation 1 over the rows ``train``."""
    import numpy as np

    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    # A column that is constant over the train part stays 0 there instead of NaN.
    scaled: npt.NDArray[np.float64] = (values - mean) / np.where(deviation > 0, deviation, 1.0)
    return scaled.astype(np.float32)
