"""Named stages of a run, in the order the config lists them."""

from runner.phases.base import Given, Observer, Phase, Row
from runner.phases.evaluate import Evaluate
from runner.phases.train import Evaluation, Train

__all__ = ["Evaluate", "Evaluation", "Given", "Observer", "Phase", "Row", "Train"]
