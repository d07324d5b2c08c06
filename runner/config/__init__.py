"""From YAML and overrides to one typed, checked experiment."""

from runner.config.schema import Experiment, RunSpec, Tracking, load

__all__ = ["Experiment", "RunSpec", "Tracking", "load"]
