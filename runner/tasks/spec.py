"""The config of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.errors import Invalid
from runner.targets import Target

if TYPE_CHECKING:
    from runner.tasks.steps import Steps


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Base of every task's config: says which numbers it produces and builds what produces them."""

    @abstractmethod
    def metric_names(self) -> list[str]:
        """The names of the numbers in a row, the loss among them."""

    def has_labels(self) -> bool:
        """Whether ``y`` is the number of the model's output that is right."""
        return False

    @abstractmethod
    def build(self) -> Steps:
        """The steps, with metrics of their own; imports TensorFlow."""


@dataclass(frozen=True, kw_only=True)
class Supervised(Task):
    """Predict ``y`` from ``x``: classification, regression, language modelling."""

    loss: Target
    """A `keras.losses` class; it is averaged over the examples of a batch."""
    metrics: dict[str, Target] = field(default_factory=dict)
    """`keras.metrics` classes by the name they have in the rows."""

    def __post_init__(self) -> None:
        if "loss" in self.metrics:
            raise Invalid(
                "metrics.loss", self.metrics["loss"].name, "the loss is always there; rename"
            )

    def metric_names(self) -> list[str]:
        return ["loss", *self.metrics]

    def has_labels(self) -> bool:
        return self.loss.name == "keras.losses.SparseCategoricalCrossentropy"

    def build(self) -> Steps:
        from runner.tasks.steps import SupervisedSteps

        metrics = [target.build(name=name) for name, target in self.metrics.items()]
        return SupervisedSteps(loss=self.loss.build(reduction=None), metrics=metrics)
