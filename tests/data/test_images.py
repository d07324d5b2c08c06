"""The datasets that Keras downloads, without a network."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runner.data import KerasImages, Split, validate
from runner.errors import DataError, Invalid

NAMES = ["mnist", "fashion_mnist", "cifar10"]
SHAPES = {"mnist": [28, 28, 1], "fashion_mnist": [28, 28, 1], "cifar10": [32, 32, 3]}


def images(name: Any, **fields: Any) -> KerasImages:
    return KerasImages(name=name, shape=SHAPES[name], outputs=10, **fields)


def fake(monkeypatch: pytest.MonkeyPatch, name: str, load_data: Callable[[], Any]) -> None:
    """Puts a Keras in place that has one dataset, so that the real one need not be imported."""
    keras = types.ModuleType("keras")
    dataset = types.SimpleNamespace(load_data=load_data)
    keras.datasets = types.SimpleNamespace(**{name: dataset})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", keras)


@pytest.mark.parametrize("name", NAMES)
def test_the_official_test_set_is_the_test_part(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    shape = SHAPES[name] if name == "cifar10" else SHAPES[name][:2]
    label_shape = (1,) if name == "cifar10" else ()

    def examples(num: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(0, 256, size=(num, *shape), dtype=np.uint8)
        return x, rng.integers(0, 10, size=(num, *label_shape), dtype=np.uint8)

    train, test = examples(50), examples(20)

    def load_data() -> Any:
        print("1/2 [====>    ]")
        return train, test

    fake(monkeypatch, name, load_data)
    data = images(name)
    sources = data.load()
    validate(sources, data)
    assert capsys.readouterr().out == ""
    assert [len(source) for source in sources.values()] == [45, 5, 20]
    taken = sources["test"].take(np.arange(20))
    pixels = test[0].reshape(20, *SHAPES[name]).astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(taken["x"], pixels)
    np.testing.assert_array_equal(taken["y"], test[1].reshape(20).astype(np.int32))
    rows = Split(test=0.0).rows(50)
    for part in ("train", "validation"):
        taken = sources[part].take(np.arange(len(sources[part])))
        np.testing.assert_array_equal(taken["y"], train[1].reshape(50)[rows[part]])


@pytest.mark.parametrize("name", NAMES)
def test_without_a_network_the_message_says_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_data() -> Any:
        raise Exception("URL fetch failure: Name or service not known")  # as Keras does

    fake(monkeypatch, name, load_data)
    monkeypatch.setenv("KERAS_HOME", "/cache")
    with pytest.raises(DataError) as error:
        images(name).load()
    url, file = {
        "mnist": (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            "mnist.npz",
        ),
        "fashion_mnist": (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
            "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
            "fashion-mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
        ),
        "cifar10": (
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "cifar-10-batches-py-target_archive",
        ),
    }[name]
    assert str(error.value) == (
        f"{name} could not be downloaded or read: URL fetch failure: Name or service not known\n"
        f"Copy {url} to /cache/datasets/{file}, "
        "or take data=digits, which needs no network, or data=arrays with files of your own."
    )


def test_the_test_part_is_not_split_off() -> None:
    with pytest.raises(Invalid) as error:
        images("mnist", split=Split())
    expected = "split.test=0.2: the data bring a test part of their own; give 0"
    assert str(error.value) == expected
