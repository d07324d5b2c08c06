"""Examples by index, and whether they are what the config says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from runner.data import ArraySource, Data, Examples, Head, Rows, Source, validate
from runner.errors import DataError, Invalid

INDICES = np.array([3, 0, 3, 1, 4, 4])
ROWS = np.array([9, 2, 5, 7, 0])


@dataclass(frozen=True, kw_only=True)
class Given(Data):
    """Sources handed in, to be validated."""

    shape: list[int] = field(default_factory=lambda: [2])
    outputs: int = 3

    def load(self) -> dict[str, Source]:
        raise NotImplementedError


def source(x: object, y: object, *, scale: float | None = None) -> ArraySource:
    x, y = np.asarray(x), np.asarray(y)
    return ArraySource(x, y, np.arange(len(x)), scale=scale)


def raised(sources: dict[str, Source], data: Data) -> str:
    with pytest.raises((Invalid, DataError)) as error:
        validate(sources, data)
    return str(error.value)


def test_take_is_fancy_indexing_in_any_order_with_repeats() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 4, 3)).astype(np.float32)
    y = rng.integers(0, 5, size=10, dtype=np.int32)
    taken = ArraySource(x, y, ROWS).take(INDICES)
    np.testing.assert_array_equal(taken["x"], x[ROWS[INDICES]])
    np.testing.assert_array_equal(taken["y"], y[ROWS[INDICES]])


@pytest.mark.parametrize(
    ("stored", "taken"),
    [
        (np.float16, np.float32),
        (np.float64, np.float32),
        (np.dtype(">f8"), np.float32),
        (np.bool_, np.int32),
        (np.uint8, np.int32),
        (np.int64, np.int32),
        (np.dtype(">i2"), np.int32),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_whatever_is_stored_two_dtypes_are_taken(
    stored: np.dtype[np.generic], taken: type, order: Literal["C", "F"]
) -> None:
    values = np.arange(30).reshape(10, 3).astype(stored).copy(order=order)
    examples = ArraySource(values, values, ROWS).take(INDICES)
    for name in ("x", "y"):
        assert examples[name].dtype == taken
        assert examples[name].dtype.isnative
        assert examples[name].flags.c_contiguous
        np.testing.assert_array_equal(examples[name], values[ROWS[INDICES]].astype(taken))


def test_scale_takes_bytes_to_floats() -> None:
    x = np.arange(256, dtype=np.uint8)[:, None]
    taken = source(x, np.zeros(256), scale=1 / 255).take(np.arange(256))["x"]
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, x.astype(np.float32) * np.float32(1 / 255))
    assert (taken.min(), taken.max()) == (0.0, 1.0)


def test_a_vector_of_targets_gets_an_axis_and_labels_do_not() -> None:
    x = np.zeros((4, 2))
    assert source(x, [0.0, 1.0, 2.0, 3.0]).take(np.arange(2))["y"].shape == (2, 1)
    assert source(x, [0, 1, 2, 3]).take(np.arange(2))["y"].shape == (2,)
    assert source(x, np.zeros((4, 5))).take(np.arange(2))["y"].shape == (2, 5)


def test_integers_beyond_32_bits_are_refused_and_not_wrapped() -> None:
    ids = source([[2**32 + 1], [1]], [0, 1])
    np.testing.assert_array_equal(ids.take(np.array([1]))["x"], [[1]])
    with pytest.raises(DataError, match="integers beyond 32 bits; renumber them or store floats"):
        ids.take(np.array([1, 0]))


def test_what_fits_is_valid() -> None:
    x = np.zeros((3, 2))
    validate({"train": source(x, [0, 1, 2])}, Given())
    validate({"train": source(x, [[0, 2], [1, 1], [2, 0]])}, Given())
    validate({"train": source(x, np.zeros((3, 3)))}, Given())
    validate({"train": source(x, np.zeros(3))}, Given(outputs=1))


def test_what_does_not_fit_is_named_with_the_true_value() -> None:
    x = np.zeros((3, 2))
    good = source(x, [0, 1, 2])
    wide = source(np.zeros((3, 2, 1)), [0, 1, 2])
    expected = "shape=[2]: a test example is [2, 1]; give that"
    assert raised({"train": good, "test": wide}, Given()) == expected
    expected = "outputs=2: train has a label 2; give 3, or store targets as floats"
    assert raised({"train": good}, Given(outputs=2)) == expected
    expected = "outputs=3: train has a label -1; number labels from 0"
    assert raised({"train": source(x, [0, -1, 2])}, Given()) == expected
    expected = "outputs=3: train has 2 targets an example; give that"
    assert raised({"train": source(x, np.zeros((3, 2)))}, Given()) == expected
    expected = "the test part of the data has no examples"
    assert raised({"test": source(np.zeros((0, 2)), [])}, Given()) == expected


def test_a_source_of_ones_own_is_validated_by_its_first_example() -> None:
    class Squares:
        def __len__(self) -> int:
            return 10

        def take(self, indices: Rows) -> Examples:
            x = np.stack([indices, indices**2], axis=1).astype(np.float32)
            return {"x": x, "y": indices.astype(np.int32)}

    validate({"train": Squares()}, Given())
    assert raised({"train": Squares()}, Given(shape=[3])).startswith("shape=[3]: a train example")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": [2, 0]}, "shape=[2, 0]: give sizes of at least 1"),
        ({"outputs": 0}, "outputs=0: give a count of at least 1"),
        ({"batch_size": 0}, "batch_size=0: give a count of at least 1"),
    ],
)
def test_fields_are_checked(fields: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid) as error:
        Given(**fields)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_the_head_of_a_source_is_held_in_memory_where_the_whole_would_not_fit() -> None:
    source = ArraySource(np.arange(40, dtype=np.float32)[:, None], np.arange(40), np.arange(40))
    assert source.whole(most_bytes=100) is None
    head = Head(source, 3)
    examples = head.whole(most_bytes=100)
    assert examples is not None
    expected = source.take(np.arange(3))
    assert {name: one.tolist() for name, one in examples.items()} == {
        name: one.tolist() for name, one in expected.items()
    }
    assert head.whole(most_bytes=10) is None
