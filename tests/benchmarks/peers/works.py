"""The models that are trained, with their data and optimizers, for the peers that use Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from models.cnn import cnn
from models.gpt import gpt
from models.mlp import mlp
from models.resnet import resnet
from tests.benchmarks.peers.common import BATCH, digits, pydoc


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model and all it takes to train it."""

    model: Callable[[], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    batch: int = BATCH

    def compiled(self, **options: object) -> keras.Model:
        """The model with loss and accuracy; ``options`` are those of `keras.Model.compile`."""
        model = self.model()
        model.compile(
            optimizer=self.optimizer(),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            **options,
        )
        return model


def _warmed_up() -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=350, warmup_target=0.003, warmup_steps=50
    )


WORKS = {
    "mlp": Work(
        model=lambda: mlp(shape=[8, 8, 1], outputs=10, hidden=[128]),
        optimizer=keras.optimizers.Adam,
        data=digits,
    ),
    "cnn": Work(
        model=lambda: cnn(shape=[8, 8, 1], outputs=10),
        optimizer=keras.optimizers.Adam,
        data=digits,
    ),
    "resnet": Work(
        model=lambda: resnet(shape=[8, 8, 1], outputs=10),
        optimizer=keras.optimizers.Adam,
        data=digits,
    ),
    "gpt": Work(
        model=lambda: gpt(shape=[64], outputs=128),
        optimizer=lambda: keras.optimizers.AdamW(_warmed_up(), weight_decay=0.004),
        data=pydoc,
        batch=32,
    ),
}
