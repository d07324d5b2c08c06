"""What every dataset says about itself, and how it is split."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.data.source import ArraySource, Head, Rows, Source
from runner.errors import ConfigError, DataError, Invalid, shown

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test")
"""The parts that every dataset has."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How examples are dealt to train, validation and test: by ``seed`` alone."""

    validation: float = 0.1
    """Fraction of the examples for validation; 0 where the data bring that part themselves."""
    test: float = 0.2
    """Fraction of the examples for the test; 0 where the data bring that part themselves."""
    seed: int = 0
    """Fixes which example goes where; independent of the seed of the run."""

    def __post_init__(self) -> None:
        for name, fraction in (("validation", self.validation), ("test", self.test)):
            if not 0 <= fraction < 1:
                raise Invalid(name, fraction, "give a fraction from 0 up to, not including, 1")
        if self.validation + self.test >= 1:
            rest = f"validation is {shown(self.validation)}: leave something to train on"
            raise Invalid("test", self.test, f"{rest}, give less than {1 - self.validation:g}")
        if self.seed < 0:
            raise Invalid("seed", self.seed, "give 0 or more")

    def rows(self, num_examples: int) -> dict[str, Rows]:
        """Sorted rows of each part: disjoint, together all; a part with fraction 0 is left out.

        The test part stays the same when the validation fraction changes.

        Raises:
            Invalid: a part would be empty; the field is named as in a spec, ``split.test``.
        """
        import numpy as np

        # The raw stream of a bit generator is fixed for good; that of Generator.permutation is not.
        order = np.argsort(np.random.PCG64(self.seed).random_raw(num_examples), kind="stable")
        num_test = round(num_examples * self.test)
        num_held_out = num_test + round(num_examples * self.validation)
        test, validation, train = np.split(order, [num_test, num_held_out])
        self._check_part("validation", validation, of=num_examples)
        self._check_part("test", test, of=num_examples)
        if not len(train):
            reason = f"nothing of {num_examples} examples is left to train on; give less"
            raise Invalid("split.validation", self.validation, reason)
        parts = {"train": train, "validation": validation, "test": test}
        return {name: np.sort(rows) for name, rows in parts.items() if len(rows)}

    def _check_part(self, name: str, rows: Rows, *, of: int) -> None:
        fraction = getattr(self, name)
        if fraction and not len(rows):
            raise Invalid(f"split.{name}", fraction, f"that is none of {of} examples; give more")


@dataclass(frozen=True, kw_only=True)
class Data(abc.ABC):
    """Base of all datasets. Constructing one reads nothing; ``load`` does."""

    shape: list[int]
    """Shape of one example x, without the batch axis; models use ${data.shape}."""
    outputs: int
    """Number of classes, targets or words; models use ${data.outputs}."""
    batch_size: int = 64
    """Examples in a batch."""
    limit: int | None = None
    """Only so many of the training examples are used; for trying things out."""
    split: Split = field(default_factory=Split)
    """How the examples are dealt to train, validation and test."""

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise Invalid("shape", self.shape, "give sizes of at least 1")
        if self.outputs < 1:
            raise Invalid("outputs", self.outputs, "give a count of at least 1")
        if self.batch_size < 1:
            raise Invalid("batch_size", self.batch_size, "give a count of at least 1")
        if self.limit is not None and self.limit < 1:
            raise Invalid("limit", self.limit, "give a count of at least 1, or null for all")
        fractions = {"validation": self.split.validation, "test": self.split.test}
        for part, fraction in fractions.items():
            if part in self.own_parts() and fraction:
                reason = f"the data bring a {part} part of their own; give 0"
                raise Invalid(f"split.{part}", fraction, reason)
            if part not in self.own_parts() and not fraction:
                raise Invalid(f"split.{part}", fraction, "give a fraction above 0")

    def own_parts(self) -> frozenset[str]:
        """The parts ("validation", "test") that are not split off, since the data bring them."""
        return frozenset()

    def check(self) -> None:
        """Look at the outside world, cheaply and without TensorFlow.

        Raises:
            Invalid: a field names what is not there, or what does not fit.
        """

    @abc.abstractmethod
    def load(self) -> dict[str, Source]:
        """The sources of "train", "validation" and "test".

        Raises:
            DataError: the data cannot be had.
            Invalid: a field does not fit the data.
        """


def load(data: Data) -> dict[str, Source]:
    """The sources of a dataset, as far as ``limit`` lets them be used.

    Raises:
        DataError: as ``Data.load``, or a part has no examples.
        ConfigError: a field does not fit the data.
    """
    try:
        sources = data.load()
        validate(sources, data)
    except Invalid as error:
        raise ConfigError(f"data.{error}") from error
    if data.limit is not None:
        sources["train"] = Head(sources["train"], data.limit)
    return sources


def validate(sources: Mapping[str, Source], data: Data) -> None:
    """Compare what was loaded with what ``data`` says: the shape of x, and y with ``outputs``.

    All labels of an ``ArraySource`` are looked at, of other sources those of the first example.

    Raises:
        DataError: a part has no examples.
        Invalid: ``shape`` or ``outputs`` is not that of the examples.
    """
    import numpy as np

    for part, source in sources.items():
        if not len(source):
            raise DataError(f"the {part} part of the data has no examples")
        first = source.take(np.zeros(1, np.int64))
        shape = list(first["x"].shape[1:])
        if shape != data.shape:
            raise Invalid("shape", data.shape, f"a {part} example is {shown(shape)}; give that")
        if first["y"].dtype == np.float32:
            _check_targets(first["y"], part=part, outputs=data.outputs)
        else:
            stored = source.y if isinstance(source, ArraySource) else first["y"]
            _check_labels(stored, part=part, outputs=data.outputs)


def _check_targets(y: np.ndarray, *, part: str, outputs: int) -> None:
    if y.shape[-1] != outputs:
        raise Invalid("outputs", outputs, f"{part} has {y.shape[-1]} targets an example; give that")


def _check_labels(y: np.ndarray, *, part: str, outputs: int) -> None:
    # The whole array rather than the part's rows: a memory-mapped one is read through, not copied.
    low, high = int(y.min()), int(y.max())
    if low < 0:
        raise Invalid("outputs", outputs, f"{part} has a label {low}; number labels from 0")
    if high >= outputs:
        reason = f"{part} has a label {high}; give {high + 1}, or store targets as floats"
        raise Invalid("outputs", outputs, reason)
