"""A restore gives every value, or changes none and says what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from models.mlp import mlp
from runner.checkpoint import graph
from runner.checkpoint.compare import compare
from runner.checkpoint.reading import SavedGraph, opened
from runner.checkpoint.restore import borrowed, restore
from runner.checkpoint.saver import Moment
from runner.checkpoint.spec import CheckpointSpec
from runner.checkpoint.store import CheckpointStore
from runner.errors import CheckpointError
from runner.state import Record, State

KEYS = {"model": "model", "optimizer": "optimizer", "progress": "progress"}
Parts = dict[str, Any]


def functional(
    *,
    hidden: tuple[int, ...] = (4,),
    names: str = "abc",
    outputs: int = 3,
    activation: str = "relu",
    regularizer: Callable[..., Any] = layers.Dropout,
) -> Any:
    inputs = keras.Input((4,), name="inputs")
    x = inputs
    for name, width in zip(names, hidden, strict=False):
        x = layers.Dense(width, activation, name=name)(x)
    x = regularizer(0.5, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(outputs, name="logits")(x), name="net")


def make(
    model: Callable[[], keras.Model] = functional,
    optimizer: Callable[[], keras.Optimizer] = lambda: keras.optimizers.Adam(0.1),
    *,
    seed: int = 0,
    shape: tuple[int, ...] = (1, 4),
    keys: dict[str, str] | None = None,
) -> Parts:
    """Parts as a process of its own would build them, every variable with a value of its own."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    built, updates = model(), optimizer()
    built(tf.zeros(shape), training=True)
    updates.build(built.trainable_variables)
    state = State(model=built, optimizer=updates, metrics=[keras.metrics.Mean(name="loss")])
    parts = state.parts(keys or KEYS)
    random = np.random.default_rng(seed)
    for part in variables(parts):
        value = random.integers(0, 99, tf.shape(part).numpy())
        part.assign(tf.cast(tf.constant(value), part.dtype))
    state.progress.record = Record(phase="train", rows=seed, saves=seed)
    return parts


def variables(parts: Parts) -> list[Any]:
    return [part for _, part in graph.leaves(parts) if isinstance(part, graph.Variable)]


def bits(parts: Parts) -> dict[str, Any]:
    """Everything that a checkpoint holds, to the last bit."""
    content: dict[str, Any] = {}
    for way, part in graph.leaves(parts):
        if isinstance(part, graph.Variable):
            raw = part.value if isinstance(part, keras.Variable) else part
            value = np.asarray(tf.identity(raw))
            content[way] = (value.dtype, value.shape, value.tobytes())
        elif isinstance(part, graph.PythonState):
            content[way] = part.serialize()
        else:
            tensors = part._serialize_to_tensors()
            content[way] = {name: sorted(value.numpy()) for name, value in tensors.items()}
    return content


def saved(parts: Parts, directory: Path, *, run: str = "run1") -> Path:
    """By the runner, with a manifest."""
    keys = {key: KEYS.get(key, "model") for key in parts if key != "untracked"}
    spec = CheckpointSpec(directory=str(directory), keys=keys, restore="none")
    store = CheckpointStore(spec, parts, directory=directory, run=run)
    store.open()
    store.start()
    moment = Moment(order=1, step=1, epoch=0.5, phase="train", metrics={}, record={})
    store.begin(moment)
    manifest = store.settle()
    assert manifest is not None
    return store.path(manifest)


def written(parts: Parts, directory: Path) -> Path:
    """By a bare script."""
    return Path(tf.train.Checkpoint(**parts).write(str(directory / "plain")))


class Blocks(keras.Model):
    """Layers where tf.train.Checkpoint does not look for them."""

    def __init__(self) -> None:
        super().__init__(name="blocks")
        self.blocks = [layers.Dense(4, name="a"), layers.BatchNormalization(name="norm")]
        self.by_name = {"b": layers.Dense(4, name="b"), "drop": layers.Dropout(0.5, name="drop")}
        self.out = layers.Dense(2, name="out")

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in [*self.blocks, *self.by_name.values()]:
            x = layer(x, training=training) if layer.name in ("norm", "drop") else layer(x)
        return self.out(x)


class Resources(keras.Model):
    """State that is no Keras variable."""

    def __init__(self) -> None:
        super().__init__(name="resources")
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        self.dense_table = tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, -2, -3)
        self.fixed = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], [1]), default_value=-1
        )
        self.generator = tf.random.Generator.from_seed(3)
        self.free = tf.Variable([1.0, 2.0], shape=tf.TensorShape(None), name="free")
        self.words = layers.StringLookup(vocabulary=["a", "b"])
        self.out = layers.Dense(2, name="out")

    def build(self, shape: Any) -> None:
        self.out.build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(x)


def shared() -> keras.Model:
    inputs, layer = keras.Input((4,)), layers.Dense(4, name="tied")
    return keras.Model(inputs, layers.Dense(2, name="out")(layer(layer(inputs))), name="net")


def unshared() -> keras.Model:
    inputs = keras.Input((4,))
    first, second = layers.Dense(4, name="tied"), layers.Dense(4, name="free")
    return keras.Model(inputs, layers.Dense(2, name="out")(second(first(inputs))), name="net")


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.GaussianNoise(0.1)])
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def recurrent() -> keras.Model:
    cell = layers.LSTM(3, dropout=0.1, recurrent_dropout=0.1)
    return keras.Sequential([keras.Input((5, 3)), layers.Bidirectional(cell), layers.Dense(2)])


OPTIMIZERS: dict[str, Callable[[], keras.Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(0.1),
    "schedule": lambda: keras.optimizers.Lion(keras.optimizers.schedules.CosineDecay(0.1, 9)),
    "averaged": lambda: keras.optimizers.AdamW(use_ema=True, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(momentum=0.9)),
}
MODELS: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...]]] = {
    "functional": (functional, (1, 4)),
    "mlp": (lambda: mlp(shape=[2, 2], outputs=3, hidden=[4]), (1, 2, 2)),
    "lists": (Blocks, (1, 4)),
    "resources": (Resources, (1, 4)),
    "shared": (shared, (1, 4)),
    "nested": (nested, (1, 4)),
    "recurrent": (recurrent, (1, 5, 3)),
}
STATES = [(model, "adam") for model in MODELS] + [("lists", name) for name in OPTIMIZERS]


@pytest.mark.parametrize(("model", "optimizer"), STATES)
def test_every_kind_of_state_comes_back_and_borrowing_leaves_no_trace(
    tmp_path: Path, model: str, optimizer: str
) -> None:
    build, shape = MODELS[model]
    source = make(build, OPTIMIZERS[optimizer], seed=1, shape=shape)
    if model == "resources":
        source["model"].table.insert(["a", "b"], [1, 2])
        source["model"].dense_table.insert([5], [6])
        source["model"].free.assign([[9.0]])
    path = saved(source, tmp_path)
    target = make(build, OPTIMIZERS[optimizer], seed=2, shape=shape)
    if model == "resources":
        target["model"].table.insert(["c"], [3])
    before = bits(target)
    assert before != bits(source)
    with borrowed(path, target) as manifest:
        assert manifest is not None
        assert bits(target) == bits(source)
    assert bits(target) == before
    with pytest.raises(ZeroDivisionError), borrowed(path, target):
        raise ZeroDivisionError
    assert bits(target) == before
    restore(path, target)
    assert bits(target) == bits(source)
    kept = {id(part) for part in variables(target)}
    for owner in (target["model"], target["optimizer"]):
        assert all(id(variable) in kept for variable in owner.variables)


def test_values_come_back_to_the_last_bit(tmp_path: Path) -> None:
    """NaN with a payload, negative zero, subnormal numbers; half precision too."""
    words = np.array([0x7FC12345, 0x80000000, 0x00000001, 0xFF800000], np.uint32)
    parts = {
        "model": tf.Variable(words.view(np.float32)),
        "optimizer": tf.Variable(tf.cast([1.5, -0.0], tf.bfloat16)),
    }
    path = written(parts, tmp_path)
    before = bits(parts)
    for part in parts.values():
        part.assign(tf.zeros_like(part))
    restore(path, parts)
    assert bits(parts) == before


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "wider": (
        {"model": lambda: functional(hidden=(6,))},
        """
  of another shape or dtype:
    model a/kernel: float32 [4, 4] in the checkpoint, float32 [4, 6] in this run
    model a/bias: float32 [4] in the checkpoint, float32 [6] in this run
    model logits/kernel: float32 [4, 3] in the checkpoint, float32 [6, 3] in this run
    optimizer adam/a_kernel_momentum: float32 [4, 4] in the checkpoint, float32 [4, 6] in this run
    optimizer adam/a_kernel_velocity: float32 [4, 4] in the checkpoint, float32 [4, 6] in this run
    optimizer adam/a_bias_momentum: float32 [4] in the checkpoint, float32 [6] in this run
    optimizer adam/a_bias_velocity: float32 [4] in the checkpoint, float32 [6] in this run
    optimizer adam/logits_kernel_momentum: float32 [4, 3] in the checkpoint, float32 [6, 3] in this run
    optimizer adam/logits_kernel_velocity: float32 [4, 3] in the checkpoint, float32 [6, 3] in this run
  To go on, checkpoint.partial=true takes what fits and leaves the rest as it is.""",
    ),
    "one layer more": (
        {"model": lambda: functional(hidden=(4, 4))},
        """
  only in this run:
    model b/kernel: float32 [4, 4]
    model b/bias: float32 [4]
    optimizer adam/b_kernel_momentum: float32 [4, 4]
    optimizer adam/b_kernel_velocity: float32 [4, 4]
    optimizer adam/b_bias_momentum: float32 [4]
    optimizer adam/b_bias_velocity: float32 [4]
  To go on,""",
    ),
    "layers fewer": (
        {"source": {"model": lambda: functional(hidden=(4, 4, 4))}, "model": lambda: functional()},
        """
  only in the checkpoint:
    model b/kernel: float32 [4, 4]
    model b/bias: float32 [4]
    model c/kernel: float32 [4, 4]
    model c/bias: float32 [4]
    optimizer adam/b_kernel_momentum: float32 [4, 4]
    optimizer adam/b_kernel_velocity: float32 [4, 4]
    optimizer adam/b_bias_momentum: float32 [4]
    optimizer adam/b_bias_velocity: float32 [4]
    optimizer adam/c_kernel_momentum: float32 [4, 4]
    optimizer adam/c_kernel_velocity: float32 [4, 4]
    optimizer adam/c_bias_momentum: float32 [4]
    optimizer adam/c_bias_velocity: float32 [4]
  To go on,""",
    ),
    "another dtype": (
        {"model": lambda: _in_half(functional)},
        """
  of another shape or dtype:
    model a/kernel: float32 [4, 4] in the checkpoint, float16 [4, 4] in this run
    model a/bias: float32 [4] in the checkpoint, float16 [4] in this run""",
    ),
    "another optimizer": (
        {"optimizer": lambda: keras.optimizers.AdamW(0.1, name="adam")},
        """
  of another kind:
    optimizer: Adam in the checkpoint, AdamW in this run
  To go on, use what it was saved with; checkpoint.partial=true takes what fits.""",
    ),
    "another optimizer inside": (
        {
            "source": {
                "optimizer": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
            },
            "optimizer": lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.AdamW(name="adam")
            ),
        },
        """
  of another kind:
    optimizer: LossScaleOptimizer(Adam) in the checkpoint, LossScaleOptimizer(AdamW) in this run""",
    ),
    "another activation": (
        {"model": lambda: functional(activation="gelu")},
        """
  of another kind:
    model a: Dense relu in the checkpoint, Dense gelu in this run
  To go on, use what it was saved with; checkpoint.partial=true takes what fits.""",
    ),
    "another kind of layer": (
        {"model": lambda: functional(regularizer=layers.GaussianNoise)},
        """
  of another kind:
    model dropout: Dropout in the checkpoint, GaussianNoise in this run
""",
    ),
    "a schedule, and layers that changed places": (
        {
            "source": {"model": lambda: functional(hidden=(4, 4), names="ab")},
            "model": lambda: functional(hidden=(4, 4), names="ba"),
            "optimizer": lambda: scheduled(),
        },
        """
  in another place:
    model a/kernel in the checkpoint is in the place of model b/kernel in this run
""",
    ),
    "a schedule, and a wider layer": (
        {"model": lambda: functional(outputs=5), "optimizer": lambda: scheduled()},
        """
  of another shape or dtype:
    model logits/kernel: float32 [4, 3] in the checkpoint, float32 [4, 5] in this run
    model logits/bias: float32 [3] in the checkpoint, float32 [5] in this run
    optimizer adam/logits_kernel_momentum: float32 [4, 3] in the checkpoint, float32 [4, 5] in this run
""",
    ),
    "layers that changed places": (
        {
            "source": {"model": lambda: functional(hidden=(4, 4), names="ab")},
            "model": lambda: functional(hidden=(4, 4), names="ba"),
        },
        """
  in another place:
    model a/kernel in the checkpoint is in the place of model b/kernel in this run
    model a/bias in the checkpoint is in the place of model b/bias in this run
    model b/kernel in the checkpoint is in the place of model a/kernel in this run""",
    ),
    "another name": (
        {"model": lambda: functional(names="x")},
        """
  only in the checkpoint:
    model a/kernel: float32 [4, 4]
    model a/bias: float32 [4]
    optimizer adam/a_kernel_momentum: float32 [4, 4]""",
    ),
    "no longer shared": (
        {"source": {"model": shared}, "model": unshared},
        """
  only in this run:
    model free/kernel: float32 [4, 4]
    model free/bias: float32 [4]
    optimizer adam/free_kernel_momentum: float32 [4, 4]""",
    ),
    "other keys": (
        {"keys": {"net": "model", "opt": "optimizer"}},
        """
  keys in the checkpoint: model, optimizer, progress
  checkpoint.keys here:   net, opt
  To go on, read it with the same keys, 'checkpoint.keys={model: model, optimizer: optimizer, """
        """progress: progress}' (name in the file: part).""",
    ),
    "fewer keys": (
        {"keys": {"model": "model"}},
        """
  keys in the checkpoint: model, optimizer, progress
  checkpoint.keys here:   model
""",
    ),
    "keys exchanged": (
        {"keys": {"model": "optimizer", "optimizer": "model", "progress": "progress"}},
        "\n  only in the checkpoint:\n",
    ),
}


def scheduled() -> keras.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 9))


def number() -> keras.Optimizer:
    return keras.optimizers.Adam(0.1)


def scaled(inner: Callable[[], keras.Optimizer]) -> Callable[[], keras.Optimizer]:
    return lambda: keras.optimizers.LossScaleOptimizer(inner())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (number, scheduled),
        (scheduled, number),
        (scaled(number), scaled(scheduled)),
        (scaled(scheduled), scaled(number)),
    ],
)
def test_the_config_says_whether_a_learning_rate_is_a_number_or_a_schedule(
    tmp_path: Path, old: Callable[[], Any], new: Callable[[], Any]
) -> None:
    source, target = make(optimizer=old, seed=1), make(optimizer=new, seed=2)
    path = saved(source, tmp_path)
    before, wanted = by_name(target), by_name(source)
    restore(path, target)
    restored = by_name(target)
    alone = {name for name in restored if name not in wanted}
    assert {name.rpartition("/")[2] for name in alone} <= {"learning_rate"}
    assert {name: restored[name] for name in alone} == {name: before[name] for name in alone}
    assert {name: restored[name] for name in restored if name not in alone} == {
        name: wanted[name] for name in restored if name not in alone
    }


class Paced(layers.Dense):
    """A layer with a weight that is called as an optimizer calls its own."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.pace = self.add_weight(name="learning_rate", shape=())


def test_only_an_optimizer_has_a_learning_rate(tmp_path: Path) -> None:
    def paced() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), Paced(4, name="a")])

    def plain() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a")])

    path = saved(make(paced, seed=1, keys={"model": "model"}), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"only in the checkpoint:\n    model .*a/learning_rate"
    ):
        restore(path, make(plain, seed=2, keys={"model": "model"}))


def by_name(parts: Parts) -> dict[str, bytes]:
    """The bytes of every variable by its own name."""
    named = [part for part in variables(parts) if isinstance(part, keras.Variable)]
    return {graph.own_name(part): part.numpy().tobytes() for part in named}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused_and_nothing_is_touched(tmp_path: Path, misfit: str) -> None:
    given, message = MISFITS[misfit]
    given = dict(given)
    path = saved(make(seed=1, **given.pop("source", {})), tmp_path)
    target = make(seed=2, **given)
    before = bits(target)
    for attempt in (restore, _borrow):
        with pytest.raises(CheckpointError) as told:
            attempt(path, target)
        assert str(told.value).startswith(f"{path} does not fit this run; nothing was restored.\n")
        assert message in str(told.value)
        assert bits(target) == before


def test_the_runs_own_is_never_taken_in_part(tmp_path: Path) -> None:
    path = written({"model": tf.Variable([1.0], name="one")}, tmp_path)
    with pytest.raises(CheckpointError) as told:
        restore(path, {"model": tf.Variable([1.0, 2.0], name="one")}, own=True)
    assert str(told.value).endswith(
        "  To go on, undo what changed in the config or the code, or start another run from it: "
        f"checkpoint.restore={path} checkpoint.partial=true."
    )


def test_two_objects_in_the_place_of_one_are_refused(tmp_path: Path) -> None:
    one = tf.Variable(1.0, name="one")
    path = written({"model": one, "optimizer": one}, tmp_path)
    target: Parts = {
        "model": tf.Variable(2.0, name="first"),
        "optimizer": tf.Variable(3.0, name="second"),
    }
    with pytest.raises(
        CheckpointError, match=r"model one .* is in the place of model first in this run"
    ):
        restore(path, target)
    assert [float(part) for part in target.values()] == [2.0, 3.0]


def test_one_object_in_the_place_of_two_is_refused(tmp_path: Path) -> None:
    path = written({"model": tf.Variable(1.0), "optimizer": tf.Variable(2.0)}, tmp_path)
    one = tf.Variable(3.0, name="one")
    with pytest.raises(CheckpointError, match="in the place of model one in this run"):
        restore(path, {"model": one, "optimizer": one})
    assert float(one) == 3.0


def test_a_script_may_have_given_other_names(tmp_path: Path) -> None:
    """Keras counts layers up in a notebook; only in the runner's own files do names mean something."""
    source = make(lambda: functional(names="x"), seed=1, keys={"model": "model"})
    path = written(source, tmp_path)
    target = make(lambda: functional(names="y"), seed=2, keys={"model": "model"})
    restore(path, target)
    assert list(bits(target).values()) == list(bits(source).values())


def test_what_tracking_misses_stands_under_a_key_of_its_own(tmp_path: Path) -> None:
    keys = {"net": "model"}
    source, target = make(seed=1, keys=keys), make(seed=2, keys=keys)
    assert list(source) == ["net", "untracked"]
    path = saved(source, tmp_path)
    restore(path, target)
    assert bits(target) == bits(source)
    script = tf.train.Checkpoint(net=make(seed=3, keys=keys)["net"])
    script.restore(str(path)).assert_existing_objects_matched()
    for ours, theirs in zip(script.net.weights, source["net"].weights, strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()


def test_a_script_saves_no_random_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its checkpoint fits all the same, but only where a manifest does not say otherwise."""
    keys = {"net": "model"}
    source, target = make(seed=1, keys=keys), make(seed=2, keys=keys)
    path = written({"net": source["net"]}, tmp_path)
    before = bits(target)
    with pytest.raises(CheckpointError, match="only in this run:\n    untracked seed_generator"):
        restore(path, target)
    assert bits(target) == before
    restore(path, target, optional="untracked")
    assert caplog.messages == [f"{path} has no untracked: the random state starts anew"]
    after, wanted = bits(target), bits(source)
    assert [way for way in after if after[way] != wanted[way]] == [
        way for way in before if way.startswith("untracked")
    ]
    own = saved({"net": source["net"]}, tmp_path)
    with pytest.raises(CheckpointError, match="only in this run:\n    untracked seed_generator"):
        restore(own, target, optional="untracked")


@pytest.mark.parametrize("compiled", ["the script's", "this run's", "both"])
def test_the_optimizer_inside_a_compiled_model_does_not_count(
    tmp_path: Path, compiled: str
) -> None:
    def fitted() -> keras.Model:
        model = functional()
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(np.ones([4, 4]), np.ones([4, 3]), verbose=0)
        return model

    only_model = {"model": "model"}
    source = make(functional if compiled == "this run's" else fitted, seed=1, keys=only_model)
    path = written(source, tmp_path)
    target = make(functional if compiled == "the script's" else fitted, seed=2, keys=only_model)
    restore(path, target)
    assert [weight.numpy().tobytes() for weight in target["model"].weights] == [
        weight.numpy().tobytes() for weight in source["model"].weights
    ]


def test_a_counter_of_32_bits_is_taken_into_64(tmp_path: Path) -> None:
    """``tf.Variable(0)``, as scripts count their steps."""
    path = written({"step": tf.Variable(2**31 - 1)}, tmp_path)
    step = tf.Variable(0, dtype=tf.int64)
    restore(path, {"step": step})
    assert int(step) == 2**31 - 1
    with pytest.raises(CheckpointError, match=r"int32 \[\] in the checkpoint, int8 \[\] in this"):
        restore(path, {"step": tf.Variable(0, dtype=tf.int8)})
    with pytest.raises(CheckpointError, match=r"int32 \[\] in the checkpoint, float32 \[\] in"):
        restore(path, {"step": tf.Variable(0.0)})


def test_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    source, target = make(seed=1), make(seed=2)
    path = written(source, tmp_path)
    data = path.with_name(f"{path.name}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-20])
    before = bits(target)
    with pytest.raises(CheckpointError, match=f"{path} cannot be read"):
        restore(path, target)
    assert bits(target) == before


def test_progress_of_a_newer_version_changes_nothing(tmp_path: Path) -> None:
    source, target = make(seed=1), make(seed=2)
    vars(source["progress"].record)["mood"] = "good"
    path = written(source, tmp_path)
    before = bits(target)
    with pytest.raises(CheckpointError, match="the progress holds mood, which this version"):
        restore(path, target)
    assert bits(target) == before


def test_names_without_objects_are_no_checkpoint_of_keys(tmp_path: Path) -> None:
    """As TensorFlow 1 and ``tf.raw_ops`` write them."""
    path = str(tmp_path / "old")
    tf.raw_ops.SaveV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[[1.0]])
    with pytest.raises(CheckpointError, match=r"was not made by tf\.train\.Checkpoint"):
        restore(Path(path), {"model": tf.Variable([0.0])})


# --- warm starts ------------------------------------------------------------------------------------


def test_partial_takes_what_matches_and_reports_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make(lambda: functional(outputs=5), seed=1)
    path = saved(source, tmp_path)
    target = make(seed=2)
    before, wanted = bits(target), bits(source)
    restore(path, target, partial=True)
    after = bits(target)
    fits = [way for way in before if before[way][:2] == wanted[way][:2] and "_record" not in way]
    assert {way: after[way] for way in fits} == {way: wanted[way] for way in fits}
    rest = [way for way in before if way not in fits]
    assert {way: after[way] for way in rest} == {way: before[way] for way in rest}
    assert (
        "model logits/bias: float32 [5] in the checkpoint, float32 [3] in this run" in caplog.text
    )
    assert f"restored {len(fits)} tensors of {path} in part" in caplog.text


def test_partial_leaves_the_place_in_the_run_alone(tmp_path: Path) -> None:
    path = saved(make(seed=1), tmp_path)
    target = make(seed=2)
    restore(path, target, partial=True)
    assert target["progress"].record.rows == 2


def test_partial_takes_the_keys_that_are_the_same(tmp_path: Path) -> None:
    source = make(seed=1)
    path = saved(source, tmp_path)
    target = make(seed=2, keys={"model": "model", "opt": "optimizer"})
    before = bits(target)
    restore(path, target, partial=True)
    after, wanted = bits(target), bits(source)
    model = [way for way in before if way.startswith("model")]
    assert {way: after[way] for way in model} == {way: wanted[way] for way in model}
    optimizer = [way for way in before if way.startswith("opt")]
    assert {way: after[way] for way in optimizer} == {way: before[way] for way in optimizer}


def test_partial_never_takes_one_for_another(tmp_path: Path) -> None:
    """A schedule in the place of the learning rate moves every slot up by one in Keras's list."""
    source = make(optimizer=lambda: keras.optimizers.Adam(0.1), seed=1)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 9)
    for path in (saved(source, tmp_path), written(source, tmp_path)):
        target = make(optimizer=lambda: keras.optimizers.Adam(schedule), seed=2)
        before, wanted = _by_name(target), _by_name(source)
        with opened(path) as reader:
            matches = compare(SavedGraph(reader), target).matches
        assert len({id(match.part) for match in matches}) == len(matches)
        restore(path, target, partial=True)
        after = _by_name(target)
        assert all(after[name] in (before[name], wanted[name]) for name in after)
        assert after["a/kernel"] == wanted["a/kernel"] != before["a/kernel"]


def test_partial_with_nothing_that_matches_is_refused(tmp_path: Path) -> None:
    path = saved(make(seed=1), tmp_path)
    target = make(seed=2, keys={"modle": "model"})
    before = bits(target)
    with pytest.raises(CheckpointError, match=r"checkpoint\.keys here:   modle"):
        restore(path, target, partial=True)
    assert bits(target) == before


def _by_name(parts: Parts) -> dict[str, bytes]:
    return {graph.own_name(part): part.numpy().tobytes() for part in variables(parts)}


def _borrow(path: Path, parts: Parts) -> None:
    with borrowed(path, parts):
        pytest.fail("it was restored")


def _in_half(model: Callable[[], keras.Model]) -> keras.Model:
    keras.config.set_dtype_policy("float16")
    try:
        return model()
    finally:
        keras.config.set_dtype_policy("float32")
