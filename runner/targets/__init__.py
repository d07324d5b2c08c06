"""`_target_`: names of things to build, checked before anything is imported."""

from runner.targets.sources import sources
from runner.targets.static import Parameter, Signature, locate, signature
from runner.targets.target import Target

__all__ = ["Parameter", "Signature", "Target", "locate", "signature", "sources"]
