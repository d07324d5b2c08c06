"""The models that come with the runner."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import hydra
import keras
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

REPOSITORY = Path(__file__).resolve().parents[2]

NAMES = sorted(path.stem for path in (REPOSITORY / "models").glob("[!_]*.py"))
SEQUENCES = ["gpt", "lstm"]


def builder(name: str) -> Callable[..., keras.Model]:
    return getattr(importlib.import_module(f"models.{name}"), name)


def build(name: str, **fields: object) -> keras.Model:
    shape = [16] if name in SEQUENCES else [8, 8, 1]
    return builder(name)(**{"shape": shape, "outputs": 10, **fields})


def examples(model: keras.Model, *, num: int = 3) -> np.ndarray:
    generator = np.random.default_rng(0)
    shape = (num, *model.input_shape[1:])
    if model.inputs[0].dtype == "int32":
        return generator.integers(10, size=shape, dtype=np.int32)
    return generator.random(shape, dtype=np.float32)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


@pytest.fixture
def dtype_policy() -> Iterator[Callable[[str], None]]:
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def test_these_are_the_models() -> None:
    assert NAMES == ["cnn", "gpt", "linear", "lstm", "mlp", "resnet"]


@pytest.mark.parametrize(
    ("name", "fields", "output_shape"),
    [
        ("linear", {"shape": [8, 8, 1]}, (10,)),
        ("linear", {"shape": [30], "outputs": 1}, (1,)),
        ("mlp", {"shape": [8, 8, 1]}, (10,)),
        ("mlp", {"shape": [30], "outputs": 2, "hidden": [4, 3], "activation": "tanh"}, (2,)),
        ("mlp", {"shape": [30], "hidden": []}, (10,)),
        ("cnn", {"shape": [8, 8, 1]}, (10,)),
        ("cnn", {"shape": [28, 28, 1]}, (10,)),
        ("cnn", {"shape": [32, 32, 3], "outputs": 100}, (100,)),
        ("cnn", {"shape": [8, 8, 1], "filters": [2, 3, 4, 5, 6], "dense": 7}, (10,)),
        ("resnet", {"shape": [8, 8, 1]}, (10,)),
        ("resnet", {"shape": [28, 28, 1]}, (10,)),
        ("resnet", {"shape": [32, 32, 3], "widths": [4, 4, 8], "blocks": 2}, (10,)),
        ("gpt", {"shape": [16], "outputs": 65}, (16, 65)),
        ("gpt", {"shape": [1], "width": 6, "depth": 3, "heads": 3}, (1, 10)),
        ("lstm", {"shape": [16], "outputs": 65}, (16, 65)),
        ("lstm", {"shape": [1], "width": 6, "depth": 3}, (1, 10)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_have_the_stated_shape_and_dtype(
    name: str, fields: dict[str, object], output_shape: tuple[int, ...], training: bool
) -> None:
    model = build(name, **fields)
    outputs = model(examples(model, num=5), training=training)
    assert model.name == name
    assert model.output_shape == (None, *output_shape)
    assert outputs.shape == (5, *output_shape)
    assert outputs.dtype == tf.float32


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_float32_under_mixed_precision(
    name: str, dtype_policy: Callable[[str], None]
) -> None:
    dtype_policy("mixed_bfloat16")
    model = build(name)
    assert model(examples(model)).dtype == tf.float32


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_same_in_every_build(name: str) -> None:
    first, second = build(name), build(name)
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert first.get_layer("logits") is first.layers[-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_config_has_the_fields_and_defaults_of_the_builder(name: str) -> None:
    config = OmegaConf.to_container(OmegaConf.load(REPOSITORY / f"conf/model/{name}.yaml"))
    expected: dict[str, object] = {"_target_": f"models.{name}.{name}"}
    for field, parameter in inspect.signature(builder(name)).parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        default = parameter.default
        expected[field] = list(default) if isinstance(default, tuple) else default
    expected |= {"shape": "${data.shape}", "outputs": "${data.outputs}"}
    assert config == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_config_builds_what_the_builder_builds(name: str) -> None:
    keras.backend.clear_session()  # numbers the operations between the layers from 0 again
    built = build(name)
    data = {"shape": list(built.input_shape[1:]), "outputs": 10}
    model = OmegaConf.load(REPOSITORY / f"conf/model/{name}.yaml")
    config = OmegaConf.create({"data": data, "model": model})
    keras.backend.clear_session()
    assert hydra.utils.instantiate(config.model).to_json() == built.to_json()


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_holds_every_variable_but_seeds(name: str, tmp_path: Path) -> None:
    model = build(name)
    before = values(model)
    assert len(before) == len(model.variables)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    for variable in model.variables:
        variable.assign(variable + 1)
    tf.train.Checkpoint(model=model).read(path).assert_consumed()
    seeds = {name for name in before if name.endswith("seed_generator_state")}
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name] + 1 if name in seeds else before[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_keras_file_gives_the_same_outputs(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = examples(model)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("position", [1, 7, 15])
def test_a_token_changes_no_earlier_logits(name: str, position: int) -> None:
    model = build(name)
    tokens = examples(model)
    changed = tokens.copy()
    changed[:, position] = (tokens[:, position] + 1) % 10
    logits, others = model(tokens).numpy(), model(changed).numpy()
    np.testing.assert_array_equal(logits[:, :position], others[:, :position])
    assert (logits[:, position:] != others[:, position:]).any(axis=2).all()


def test_gpt_tells_positions_apart() -> None:
    logits = build("gpt")(np.zeros((1, 16), np.int32)).numpy()[0]
    assert len(np.unique(logits, axis=0)) == 16


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("mlp", {"dropout": 1.5}, "dropout=1.5: give a fraction in [0, 1)"),
        ("cnn", {"dropout": 1.0}, "dropout=1.0: give a fraction in [0, 1)"),
        ("cnn", {"shape": [64]}, "shape=[64]: give [height, width, channels]"),
        ("resnet", {"shape": [8, 8]}, "shape=[8, 8]: give [height, width, channels]"),
        ("resnet", {"widths": []}, "widths=[]: give the channels of at least one stage"),
        ("resnet", {"blocks": 0}, "blocks=0: give at least 1 block per stage"),
        ("gpt", {"shape": [8, 8, 1]}, "shape=[8, 8, 1]: give [context], the tokens in one example"),
        ("gpt", {"depth": 0}, "depth=0: give at least 1 block"),
        ("gpt", {"width": 6, "heads": 4}, "width=6: give a multiple of heads=4"),
        ("gpt", {"heads": 0}, "heads=0: give at least 1"),
        ("gpt", {"dropout": -0.1}, "dropout=-0.1: give a fraction in [0, 1)"),
        ("lstm", {"shape": []}, "shape=[]: give [context], the tokens in one example"),
        ("lstm", {"depth": 0}, "depth=0: give at least 1 layer"),
        ("lstm", {"dropout": 1.5}, "dropout=1.5: give a fraction in [0, 1)"),
    ],
)
def test_a_bad_value_is_named_with_its_fix(
    name: str, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as raised:
        build(name, **fields)
    assert str(raised.value) == message
