"""The order of examples and the chunks that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from runner.data import ArraySource
from runner.data.order import shuffled
from runner.data.pipeline import Chunk, Pipelines, chunk_limit, chunk_spec


def source(num_examples: int) -> ArraySource:
    x = np.arange(num_examples, dtype=np.float32)[:, None]
    return ArraySource(x, np.arange(num_examples), np.arange(num_examples))


def pipelines(
    num_examples: int, batch_size: int, *, max_chunk: int = 4, seed: int = 0
) -> Pipelines:
    sources = {"train": source(num_examples)}
    return Pipelines(sources=sources, batch_size=batch_size, seed=seed, max_chunk=max_chunk)


def stream(chunks: Iterator[Chunk]) -> list[int]:
    """The examples of the chunks in order, padding left out."""
    taken = []
    for chunk in chunks:
        keep = chunk["weight"].numpy().astype(bool)
        taken += chunk["y"].numpy()[keep].tolist()
    return taken


def order(start: int, stop: int, *, num_examples: int, seed: tuple[int, int] = (0, 0)) -> list[int]:
    positions = tf.range(start, stop, dtype=tf.int64)
    return shuffled(positions, num_examples=num_examples, seed=seed).numpy().tolist()


def test_chunks_are_the_same_from_memory_and_from_a_source_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chunks() -> list[dict[str, bytes]]:
        data = pipelines(22, 4)
        found = [
            *data.training("train", offset=0, spans=[(0, 1), (1, 9)]),
            *data.evaluation("train"),
        ]
        return [{name: one.numpy().tobytes() for name, one in chunk.items()} for chunk in found]

    from_memory = chunks()
    monkeypatch.setattr("runner.data.pipeline._WHOLE_BYTES", 0)
    asked = 0

    def counted(self: ArraySource, indices: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal asked
        asked += len(indices)
        return take(self, indices)

    take = ArraySource.take
    monkeypatch.setattr(ArraySource, "take", counted)
    assert chunks() == from_memory
    assert asked > 9 * 4


@pytest.mark.parametrize("num_examples", [1, 2, 7, 10, 97, 1258])
def test_every_epoch_visits_every_example_once(num_examples: int) -> None:
    epochs = [
        order(epoch * num_examples, (epoch + 1) * num_examples, num_examples=num_examples)
        for epoch in range(3)
    ]
    assert [sorted(epoch) for epoch in epochs] == [list(range(num_examples))] * 3
    if num_examples > 7:
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_order_is_a_function_of_position_and_seed() -> None:
    whole = order(0, 60, num_examples=10)
    assert order(37, 51, num_examples=10) == whole[37:51]
    assert order(0, 60, num_examples=10, seed=(1, 0)) != whole
    assert order(0, 60, num_examples=10, seed=(0, 5)) != whole
    # Fixed for good: another order would make last month's run another run.
    assert whole[:10] == [9, 1, 2, 7, 0, 5, 3, 6, 8, 4]


@pytest.mark.parametrize("num_examples", [100, 1258, 5000])
def test_the_order_is_as_good_as_chance(num_examples: int) -> None:
    """Correlations, in units of what chance gives; TensorFlow's default number of rounds has 2 to 5."""
    with_stored, with_next = [], []
    for seed in range(20):
        epochs = np.reshape(
            order(0, 4 * num_examples, num_examples=num_examples, seed=(seed, 0)), [4, -1]
        )
        both = np.corrcoef(np.vstack([np.arange(num_examples), epochs]))
        with_stored += both[0, 1:].tolist()
        with_next += [both[n, n + 1] for n in range(1, 4)]
    for found in (with_stored, with_next):
        assert np.sqrt(np.mean(np.square(found)) * (num_examples - 1)) < 1.3


def test_a_position_far_out_costs_nothing_more() -> None:
    far = 10**12
    assert sorted(order(far, far + 10, num_examples=10)) == list(range(10))


@pytest.mark.parametrize(
    "spans", [[(0, 12)], [(s, s + 1) for s in range(12)], [(0, 5), (5, 11), (11, 12)]]
)
def test_the_stream_does_not_depend_on_chunks(spans: list[tuple[int, int]]) -> None:
    chunks = pipelines(10, 4).training("train", offset=0, spans=spans)
    assert stream(chunks) == order(0, 48, num_examples=10)


def test_resuming_takes_up_the_stream_where_it_was() -> None:
    chunks = pipelines(10, 4).training("train", offset=0, spans=[(7, 9), (9, 12)])
    assert stream(chunks) == order(28, 48, num_examples=10)


def test_a_long_plan_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.data.pipeline._SPANS_PER_PIPELINE", 3)
    spans = ((step, step + 1) for step in range(10))
    assert stream(pipelines(10, 4).training("train", offset=0, spans=spans)) == order(
        0, 40, num_examples=10
    )


@pytest.mark.parametrize("num_examples", [1, 3, 4, 5, 16, 17, 33])
def test_an_evaluation_sees_every_example_once_in_order(num_examples: int) -> None:
    chunks = list(pipelines(num_examples, 4, max_chunk=3).evaluation("train"))
    assert stream(iter(chunks)) == list(range(num_examples))
    assert {tuple(chunk["x"].shape[1:]) for chunk in chunks} == {(4, 1)}


def test_a_chunk_does_not_fill_the_memory() -> None:
    spec = chunk_spec(source(10), batch_size=4)
    assert chunk_limit(spec, most=100) == 100
    image = {"x": tf.TensorSpec([None, 64, 224, 224, 3], tf.float32)}
    assert chunk_limit(image, most=100) == 1
    assert chunk_limit({"x": tf.TensorSpec([None, 1, 1 << 20], tf.float32)}, most=100) == 16
