"""Datasets: what a config under ``data`` may name, and what one of your own is made from.

A dataset of your own is a dataclass that extends :class:`Data` and returns one source per part::

    @dataclass(frozen=True, kw_only=True)
    class Ramp(Data):
        shape: list[int] = field(default_factory=lambda: [1])
        outputs: int = 1

        def load(self) -> dict[str, Source]:
            x = np.linspace(0.0, 1.0, 1000)[:, None]
            rows = self.split.rows(len(x))
            return {part: ArraySource(x, 2.0 * x, rows[part]) for part in rows}

Nothing here imports NumPy, TensorFlow, Keras or scikit-learn before ``load()`` is called (but
``Arrays`` looks at its files with NumPy).
"""

from runner.data.arrays import Arrays, Files
from runner.data.digest import digests
from runner.data.digits import Digits
from runner.data.images import KerasImages
from runner.data.pydoc import Pydoc
from runner.data.source import ArraySource, Examples, Head, Rows, Source
from runner.data.spec import SPLITS, Data, Split, load, validate
from runner.data.tables import BreastCancer, Diabetes

__all__ = [
    "SPLITS",
    "ArraySource",
    "Arrays",
    "BreastCancer",
    "Data",
    "Diabetes",
    "Digits",
    "Examples",
    "Files",
    "Head",
    "KerasImages",
    "Pydoc",
    "Rows",
    "Source",
    "Split",
    "digests",
    "load",
    "validate",
]
