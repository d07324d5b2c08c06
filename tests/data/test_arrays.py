"""Arrays on disk: every way to store them gives the same examples, and mistakes are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.data import Arrays, ArraySource, Files, Split, validate
from runner.data.npy import ArrayFile
from runner.errors import DataError, Invalid

NUM_EXAMPLES = 40
X = np.random.default_rng(0).integers(0, 256, size=(NUM_EXAMPLES, 3, 2), dtype=np.uint8)
Y = np.arange(NUM_EXAMPLES) % 4

Paths = tuple[str, str]


def store_npy(folder: Path) -> Paths:
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    return f"{folder}/x.npy", f"{folder}/y.npy"


def store_npz(folder: Path) -> Paths:
    np.savez(folder / "xy.npz", x=X, y=Y)
    return f"{folder}/xy.npz:x", f"{folder}/xy.npz:y"


def store_compressed(folder: Path) -> Paths:
    np.savez_compressed(folder / "xy.npz", x=X, y=Y)
    return f"{folder}/xy.npz:x", f"{folder}/xy.npz:y"


def arrays(paths: Paths, **fields: Any) -> Arrays:
    return Arrays(**{"x": paths[0], "y": paths[1], "shape": [3, 2], "outputs": 4, **fields})


def refused(data: Arrays) -> str:
    with pytest.raises(Invalid) as error:
        data.check()
    with pytest.raises(Invalid, match=r".*"):
        data.load()
    return str(error.value)


@pytest.mark.parametrize("store", [store_npy, store_npz, store_compressed])
@pytest.mark.parametrize("scale", [None, 1 / 255])
def test_the_examples_do_not_depend_on_how_they_are_stored(
    store: Callable[[Path], Paths], scale: float | None, tmp_path: Path
) -> None:
    data = arrays(store(tmp_path), scale=scale)
    data.check()
    sources = data.load()
    validate(sources, data)
    rows = Split().rows(NUM_EXAMPLES)
    for part, source in sources.items():
        expected = ArraySource(X, Y, rows[part], scale=scale).take(np.arange(len(source)))
        taken = source.take(np.arange(len(source)))
        for name in ("x", "y"):
            assert taken[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(taken[name], expected[name])


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz:odd name/of ä"])
def test_any_layout_is_mapped_and_never_read_as_a_whole(
    dtype: str, order: Any, name: str, tmp_path: Path
) -> None:
    values = np.arange(60).reshape(5, 4, 3).astype(dtype).copy(order=order)
    path, _, member = name.partition(":")
    if member:
        # A first member of odd length leaves the second one unaligned.
        members: dict[str, Any] = {"first": np.zeros(3, np.uint8), member: values}
        np.savez(tmp_path / path, **members)
    else:
        np.save(tmp_path / path, values)
    opened = ArrayFile("x", f"{tmp_path}/{name}").open()
    assert isinstance(opened, np.memmap)
    assert not opened.flags.writeable
    assert opened.dtype == values.dtype
    np.testing.assert_array_equal(opened, values)


def test_a_file_larger_than_memory_is_taken_from(tmp_path: Path) -> None:
    _, y = store_npy(tmp_path)
    shape = (NUM_EXAMPLES, 1 << 31)  # 80 GiB, which take no room on the disk
    with (tmp_path / "big.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + NUM_EXAMPLES * shape[1])
    data = arrays((f"{tmp_path}/big.npy", y), shape=[shape[1]])
    data.check()
    sources = data.load()
    assert isinstance(sources["train"].x, np.memmap)  # type: ignore[attr-defined]
    assert [len(source) for source in sources.values()] == [28, 4, 8]


def test_a_compressed_member_is_read_once_and_others_are_mapped(tmp_path: Path) -> None:
    x, y = store_compressed(tmp_path)
    sources = arrays((x, y)).load()
    assert type(sources["train"].x) is np.ndarray  # type: ignore[attr-defined]
    assert sources["train"].x is sources["test"].x  # type: ignore[attr-defined]
    sources = arrays(store_npz(tmp_path)).load()
    assert isinstance(sources["train"].x, np.memmap)  # type: ignore[attr-defined]


def test_parts_with_files_of_their_own_are_used_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "tx.npy", X[:7])
    np.save(tmp_path / "ty.npy", Y[:7])
    own = Files(x=f"{tmp_path}/tx.npy", y=f"{tmp_path}/ty.npy")
    paths = store_npz(tmp_path)
    sources = arrays(paths, test=own, split=Split(test=0.0)).load()
    assert [len(source) for source in sources.values()] == [36, 4, 7]
    np.testing.assert_array_equal(sources["test"].take(np.arange(7))["x"], X[:7])
    split = Split(validation=0.0, test=0.0)
    sources = arrays(paths, test=own, validation=own, split=split).load()
    np.testing.assert_array_equal(sources["train"].take(np.arange(NUM_EXAMPLES))["x"], X)
    with pytest.raises(Invalid) as error:
        arrays(paths, test=own)
    expected = "split.test=0.2: the data bring a test part of their own; give 0"
    assert str(error.value) == expected


def test_float_targets_are_columns(tmp_path: Path) -> None:
    _, y = store_npy(tmp_path)
    np.save(y, np.linspace(0, 1, NUM_EXAMPLES))
    data = arrays((f"{tmp_path}/x.npy", y), outputs=1)
    sources = data.load()
    validate(sources, data)
    assert sources["train"].take(np.arange(3))["y"].shape == (3, 1)


def test_relative_paths_start_here_and_the_message_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store_npy(tmp_path)
    arrays(("x.npy", "y.npy")).check()
    expected = f"x=xx.npy: there is no file {tmp_path}/xx.npy; did you mean x.npy?"
    assert refused(arrays(("xx.npy", "y.npy"))) == expected
    expected = f"y=no/y.npy: there is no file {tmp_path}/no/y.npy; give one that exists"
    assert refused(arrays(("x.npy", "no/y.npy"))) == expected


def test_mistakes_are_named(tmp_path: Path) -> None:
    x, y = store_npz(tmp_path)
    npz = tmp_path / "xy.npz"
    expected = f"y={npz}:yy: {npz} has no member 'yy'; did you mean y? known: x, y"
    assert refused(arrays((x, f"{npz}:yy"))) == expected
    expected = f"y={npz}: {npz} has no member ''; known: x, y"
    assert refused(arrays((x, str(npz)))) == expected
    expected = "x=x.csv: give path/to/file.npy or path/to/file.npz:member"
    assert refused(arrays(("x.csv", y))) == expected
    expected = f"shape=[3, 3]: an example in {x} is [3, 2]; give that"
    assert refused(arrays((x, y), shape=[3, 3])) == expected
    np.save(tmp_path / "short.npy", Y[:-1])
    short = f"{tmp_path}/short.npy"
    expected = f"y={short}: has 39 examples and {x} has 40; give files that belong together"
    assert refused(arrays((x, short))) == expected


def test_mistakes_in_the_files_of_a_part_are_named_by_it(tmp_path: Path) -> None:
    paths = store_npy(tmp_path)
    own = Files(x=f"{tmp_path}/x.npy", y=f"{tmp_path}/z.npy")
    message = refused(arrays(paths, test=own, split=Split(test=0.0)))
    assert message.startswith(f"test.y={tmp_path}/z.npy: there is no file {tmp_path}/z.npy; did")


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (np.array([{"a": 1}, None]), "object [2]"),
        (np.array(["a", "b"]), "<U1 [2]"),
        (np.float32(1), "float32 []"),
        (np.zeros(2, [("a", "f4")]), "[('a', '<f4')] [2]"),
    ],
)
def test_only_arrays_of_numbers_are_taken(values: Any, held: str, tmp_path: Path) -> None:
    _, y = store_npy(tmp_path)
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    x = f"{tmp_path}/x.npy"
    expected = f"x={x}: {x} holds {held}; give an array of numbers, one row an example"
    assert refused(arrays((x, y))) == expected


def test_damaged_files_are_named(tmp_path: Path) -> None:
    x, y = store_npy(tmp_path)
    Path(x).write_bytes(Path(x).read_bytes()[:-1])
    assert refused(arrays((x, y))) == f"x={x}: {x} is cut off; copy or write it again"
    Path(x).write_bytes(b"not an array")
    assert refused(arrays((x, y))).startswith(f"x={x}: {x} cannot be read (the magic string is")
    npz = tmp_path / "z.npz"
    npz.write_bytes(b"not an archive")
    expected = f"x={npz}:x: {npz} cannot be read (File is not a zip file); write it again"
    assert refused(arrays((f"{npz}:x", y))) == expected


def test_a_damaged_compressed_member_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(100, 1000), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", x=noise)
    damaged = bytearray((tmp_path / "x.npz").read_bytes())
    damaged[50_000] ^= 1
    (tmp_path / "x.npz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"x\.npz cannot be read \(.*\); write it again"):
        ArrayFile("x", f"{tmp_path}/x.npz:x").open()
