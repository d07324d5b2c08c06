"""The image datasets that Keras downloads."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from runner.data.source import ArraySource, Source
from runner.data.spec import Data, Split
from runner.errors import DataError

if TYPE_CHECKING:
    import numpy as np

_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
# What Keras downloads, and where below its cache folder it looks for it first.
_DOWNLOADS = {
    "mnist": (f"{_GOOGLE}/mnist.npz", "mnist.npz"),
    "fashion_mnist": (
        f"{_GOOGLE}/{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte.gz",
        "fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
    ),
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "cifar-10-batches-py-target_archive",
    ),
}


@dataclass(frozen=True, kw_only=True)
class KerasImages(Data):
    """MNIST, Fashion-MNIST or CIFAR-10 through ``keras.datasets``, downloaded once.

    The official test set is the test part, so split.test is 0; validation is split off the official
    training set. The images stay bytes in memory.

    x: float32 [height, width, channels] in [0, 1]. y: int32 [], the class.
    """

    name: Literal["mnist", "fashion_mnist", "cifar10"]
    """Which dataset."""
    split: Split = field(default_factory=lambda: Split(test=0.0))
    """How the official training set is dealt to train and validation."""

    def own_parts(self) -> frozenset[str]:
        """The official test set."""
        return frozenset({"test"})

    def load(self) -> dict[str, Source]:
        """The sources of the three parts.

        Raises:
            DataError: the files are not there and cannot be downloaded, or are damaged.
        """
        import numpy as np

        train, test = self._fetch()
        rows = self.split.rows(len(train[0]))
        return {
            "train": _source(*train, rows=rows["train"]),
            "validation": _source(*train, rows=rows["validation"]),
            "test": _source(*test, rows=np.arange(len(test[0]))),
        }

    def _fetch(self) -> Any:
        """What ``keras.datasets`` gives: (x, y) of the training set, (x, y) of the test set."""
        from keras import datasets

        try:
            # Keras draws its progress bar on stdout, which is for results.
            with contextlib.redirect_stdout(sys.stderr):
                return getattr(datasets, self.name).load_data()
        except Exception as error:  # Keras raises just that when a download fails.
            raise DataError(self._unavailable(error)) from error

    def _unavailable(self, error: Exception) -> str:
        url, file = _DOWNLOADS[self.name]
        cache = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
        return (
            f"{self.name} could not be downloaded or read: {error}\n"
            f"Copy {url} to {cache / file}, "
            "or take data=digits, which needs no network, or data=arrays with files of your own."
        )


def _source(x: np.ndarray, y: np.ndarray, *, rows: np.ndarray) -> ArraySource:
    images = x[..., None] if x.ndim == 3 else x
    return ArraySource(images, y.reshape(-1), rows, scale=1 / 255)
