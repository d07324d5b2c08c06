"""`_target_`: names of things to build, checked before anything is imported."""

from runner.targets.allowed import NotAllowed, check_allowed
from runner.targets.modules import NotFound
from runner.targets.signatures import Parameter, Signature, signature
from runner.targets.sources import hashes, sources
from runner.targets.static import forget, locate
from runner.targets.target import TARGET, Target, load

__all__ = [
    "TARGET",
    "NotAllowed",
    "NotFound",
    "Parameter",
    "Signature",
    "Target",
    "check_allowed",
    "forget",
    "hashes",
    "load",
    "locate",
    "signature",
    "sources",
]
