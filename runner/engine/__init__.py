"""How steps become calls into TensorFlow."""

from runner.engine.spec import EngineSpec

__all__ = ["EngineSpec"]
