"""What the bits of a run depend on besides its config: chosen once, recorded, compared ever after."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.engine import EngineSpec
from runner.errors import shown
from runner.provenance import versions

_CPUINFO = Path("/proc/cpuinfo")
_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "scikit-learn")
_FEATURES = ("sse4", "avx", "fma", "f16c", "amx", "asimd", "sve", "bf16", "i8mm")
"""Beginnings of the names of instruction sets that TensorFlow, oneDNN and XLA choose kernels by."""
_SETTINGS = (
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Variables of the environment by which a user changes kernels."""


def describe(
    spec: EngineSpec, *, compile: str, threads: int, devices: Sequence[str]
) -> dict[str, Any]:
    """The numerics of this process, as they stand in run.json and in every manifest.

    Args:
        compile: graph, xla or eager.
        threads: within an op.
        devices: what computes, as TensorFlow names it.
    """
    present = versions()
    return {
        "threads": threads,
        "compile": compile,
        "deterministic": spec.deterministic,
        "dtype_policy": spec.dtype_policy,
        "versions": {name: present[name] for name in _PACKAGES if name in present},
        "processor": processor(),
        "features": _features(),
        "devices": list(devices),
        "settings": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Readable reasons why bits may differ: ``threads is 4, was 2``, ``features lacks avx512f``."""
    old, new = _flat(before), _flat(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [_difference(name, old.get(name), new.get(name)) for name in names]


def _difference(name: str, old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        had, has = Counter(map(str, old)), Counter(map(str, new))
        gone, come = ", ".join((had - has).elements()), ", ".join((has - had).elements())
        told = [f"lacks {gone}"] if gone else []
        return f"{name} {' and '.join([*told, *([f'now has {come}'] if come else [])])}"
    return f"{name} is {shown(new)}, was {shown(old)}"


def processor() -> str:
    """The processor's name: caches, by which kernels cut their work, go with it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _features() -> list[str]:
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return sorted(flag for flag in flags if flag.startswith(_FEATURES))


def _cpuinfo(name: str) -> str:
    """The first line of that name in what Linux tells of the processor; empty elsewhere."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")


def _flat(content: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """One level: ``{"versions": {"keras": "3"}}`` as ``{"versions.keras": "3"}``."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        nested = isinstance(value, Mapping)
        flat.update(_flat(value, f"{name}.") if nested else {f"{start}{name}": value})
    return flat
