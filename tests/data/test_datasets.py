"""The datasets that come along, and their configs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from omegaconf import OmegaConf

import runner.data
from runner.data import (
    ArraySource,
    BreastCancer,
    Data,
    Diabetes,
    Digits,
    Pydoc,
    Source,
    Split,
    validate,
)
from runner.errors import Invalid

CONF = Path(runner.data.__file__).parents[2] / "conf" / "data"


@dataclass(frozen=True, kw_only=True)
class Ramp(Data):
    """The example of ``runner.data``: a dataset of one's own."""

    shape: list[int] = field(default_factory=lambda: [1])
    outputs: int = 1

    def load(self) -> dict[str, Source]:
        x = np.linspace(0.0, 1.0, 1000)[:, None]
        rows = self.split.rows(len(x))
        return {part: ArraySource(x, 2.0 * x, rows[part]) for part in rows}


OFFLINE = [Digits(), BreastCancer(), Diabetes(), Pydoc(), Pydoc(context=50, shape=[50]), Ramp()]


def loaded(data: Data) -> dict[str, ArraySource]:
    sources = data.load()
    assert all(isinstance(source, ArraySource) for source in sources.values())
    return sources  # type: ignore[return-value]


@pytest.mark.parametrize("data", OFFLINE, ids=lambda data: type(data).__name__)
def test_a_dataset_is_what_it_says(data: Data) -> None:
    data.check()
    sources = loaded(data)
    validate(sources, data)
    assert list(sources) == ["train", "validation", "test"]
    rows = np.concatenate([source.rows for source in sources.values()])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(sources["train"].x)))


@pytest.mark.parametrize("data", OFFLINE, ids=lambda data: type(data).__name__)
def test_take_is_fancy_indexing(data: Data) -> None:
    source = loaded(data)["train"]
    indices = np.array([5, 0, 5, len(source) - 1])
    taken = source.take(indices)
    for name, stored in (("x", source.x), ("y", source.y)):
        assert taken[name].flags.c_contiguous
        assert taken[name].dtype in (np.float32, np.int32)
        expected = stored[source.rows[indices]].astype(taken[name].dtype)
        np.testing.assert_array_equal(taken[name], expected)


@pytest.mark.parametrize("data", OFFLINE, ids=lambda data: type(data).__name__)
def test_a_dataset_is_loaded_the_same_twice(data: Data) -> None:
    for first, second in zip(data.load().values(), data.load().values(), strict=True):
        one, other = first.take(np.arange(8)), second.take(np.arange(8))
        np.testing.assert_array_equal(one["x"], other["x"])
        np.testing.assert_array_equal(one["y"], other["y"])


def test_digits_are_pixels_in_sixteenths() -> None:
    source = loaded(Digits())["test"]
    bunch = sklearn.datasets.load_digits()
    taken = source.take(np.arange(len(source)))
    np.testing.assert_array_equal(taken["x"][..., 0] * 16, bunch.images[source.rows])
    np.testing.assert_array_equal(taken["y"], bunch.target[source.rows])


@pytest.mark.parametrize(
    ("data", "loader"), [(BreastCancer(), "load_breast_cancer"), (Diabetes(), "load_diabetes")]
)
def test_train_is_standardized_by_train_alone(
    data: Data, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = loaded(data)
    scaled = {} if loader == "load_breast_cancer" else {"scaled": False}
    bunch = getattr(sklearn.datasets, loader)(**scaled)
    held_out = np.concatenate([before[part].rows for part in ("validation", "test")])
    bunch.data[held_out] += 1e6
    monkeypatch.setattr(sklearn.datasets, loader, lambda **_: bunch)
    train, changed = before["train"], loaded(data)["train"]
    np.testing.assert_array_equal(changed.x[train.rows], train.x[train.rows])
    assert (changed.x[held_out] != train.x[held_out]).all()
    np.testing.assert_allclose(train.x[train.rows].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.x[train.rows].std(axis=0), 1, atol=1e-5)


def test_diabetes_targets_are_standardized_by_train_alone() -> None:
    sources = loaded(Diabetes())
    raw = sklearn.datasets.load_diabetes(scaled=False).target
    train = raw[sources["train"].rows]
    expected = ((raw - train.mean()) / train.std()).astype(np.float32)[:, None]
    for source in sources.values():
        taken = source.take(np.arange(len(source)))["y"]
        np.testing.assert_array_equal(taken, expected[source.rows])


def test_a_constant_column_is_zero_and_not_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = sklearn.datasets.load_breast_cancer()
    bunch.data[:, 3] = 2.0
    monkeypatch.setattr(sklearn.datasets, "load_breast_cancer", lambda: bunch)
    np.testing.assert_array_equal(loaded(BreastCancer())["train"].x[:, 3], 0)


def test_pydoc_blocks_are_the_text_in_order_and_do_not_overlap() -> None:
    source = loaded(Pydoc())["train"]
    whole = replace(source, rows=np.arange(len(source.x))).take(np.arange(len(source.x)))
    blocks = np.concatenate([whole["x"], whole["y"][:, -1:]], axis=1)
    text = "".join(topics[name] for name in sorted(topics)).encode("ascii", errors="replace")
    assert blocks.astype(np.uint8).tobytes() == text[: blocks.size]
    assert len(text) - blocks.size < 129
    np.testing.assert_array_equal(whole["x"][:, 1:], whole["y"][:, :-1])


def test_pydoc_shape_is_its_context() -> None:
    with pytest.raises(Invalid) as error:
        Pydoc(context=64)
    assert str(error.value) == "shape=[128]: give [64], the context"


def test_a_part_that_must_be_split_off_has_a_fraction() -> None:
    with pytest.raises(Invalid) as error:
        Digits(split=Split(test=0.0))
    assert str(error.value) == "split.test=0.0: give a fraction above 0"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_has_every_field_with_its_default(path: Path) -> None:
    assert path.read_text().startswith("# ")
    config: Any = OmegaConf.create({"data": OmegaConf.load(path)})
    for name in OmegaConf.missing_keys(config):
        OmegaConf.update(config, name, {"data.shape": [4], "data.outputs": 2}.get(name, "a.npy"))
    values: Any = OmegaConf.to_container(config.data, resolve=True)
    kind = getattr(runner.data, values.pop("_target_").removeprefix("runner.data."))
    assert set(values) == {entry.name for entry in fields(kind)}
    values["split"] = Split(**values["split"])
    unset = {entry.name for entry in fields(kind) if entry.default is entry.default_factory}
    assert kind(**values) == kind(**{name: values[name] for name in unset})


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import runner.data, sys\n"
        "runner.data.Digits(), runner.data.Pydoc()\n"
        "print({'tensorflow', 'keras', 'sklearn', 'scipy', 'pydoc_data.topics'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
