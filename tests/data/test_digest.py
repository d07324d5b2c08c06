"""A hash of the data changes with every example it is of, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.data import ArraySource, Examples, Rows, Source, digests
from runner.data import digest as module


def source(*, rows: Any = range(8), **changes: Any) -> ArraySource:
    arrays = {"x": np.arange(16, dtype=np.float32).reshape(8, 2), "y": np.arange(8) % 3}
    arrays = {name: changes.get(name, values) for name, values in arrays.items()}
    return ArraySource(arrays["x"], arrays["y"], np.asarray(rows))


def of(one: Source) -> str:
    return digests({"train": one})["train"]


class Hidden:
    """A source of somebody's own, which does not offer all of its examples at once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self._source)

    def take(self, indices: Rows) -> Examples:
        self.taken += indices.tolist()
        return self._source.take(indices)


def test_the_same_examples_have_the_same_hash(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", source().x)
    mapped = source(x=np.load(tmp_path / "x.npy", mmap_mode="r"))
    wider = source(x=source().x.astype(np.float64), y=source().y.astype(np.uint8))
    assert of(source()) == of(mapped) == of(wider) == "7ae1be961b20e425"
    assert digests({"train": source(), "test": source(rows=[1])}).keys() == {"train", "test"}


@pytest.mark.parametrize(
    "changes",
    [
        {"x": source().x + np.float32(1e-6)},
        {"y": np.arange(8) % 2},
        {"rows": [1, 0, 2, 3, 4, 5, 6, 7]},
        {"rows": np.arange(7)},
        {"x": source().x.reshape(8, 1, 2)},
        {"x": source().x.astype(np.int32)},
    ],
)
def test_other_examples_have_another_hash(changes: dict[str, Any]) -> None:
    assert of(source(**changes)) != of(source())


def test_of_many_some_are_taken_that_are_spread_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Hidden(source())
    assert of(hidden) == of(source())
    assert hidden.taken == [*range(8)]
    monkeypatch.setattr(module, "_EXAMPLES", 3)
    hidden = Hidden(source())
    some = of(hidden)
    assert hidden.taken == [0, 3, 7]
    monkeypatch.setattr(module, "_MOST_BYTES", 8 * 12 - 1)
    assert of(source()) == some
    assert of(source(rows=[0, 3, 7])) != some  # As many examples count too.
