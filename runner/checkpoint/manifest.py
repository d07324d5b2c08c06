"""The manifest: a JSON file beside a checkpoint that says what it is and proves it whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.files import sha256, write_atomically

FORMAT = 1
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What one checkpoint is. The runner counts a checkpoint as there once its manifest is."""

    name: str
    """``<prefix>-<number>``."""
    run: str
    """The id of the run that saved it."""
    number: int
    order: int
    """How many saves the run had made with this one: the newest checkpoint has the highest."""
    step: int
    epoch: float
    phase: str | None
    keys: dict[str, str]
    """Name in the file: part of the state."""
    classes: dict[str, str]
    """The class of the part under every key."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the evaluation at this very step, if there was one, as split/name."""
    record: dict[str, Any]
    """Where the run stands besides the step, for keys that leave the progress out."""
    saved_at: float
    """Seconds since 1970, for ``keep_every_n_hours``."""
    fingerprint: str
    """SHA-256 over names, dtypes, shapes and bytes of all tensors."""
    files: dict[str, dict[str, Any]]
    """``{"bytes": size, "sha256": digest}`` by file name."""
    held: bool = False
    """Kept for good by ``keep_every_n_hours``."""
    format: int = FORMAT

    def write(self, directory: Path) -> None:
        """Writes ``<name>.json``, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        write_atomically(directory / f"{self.name}{SUFFIX}", text.encode())

    def fault(self, directory: Path) -> str | None:
        """Why the files in ``directory`` are not what was saved, or None if they are."""
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != expected["bytes"]:
                return f"{name} has {size} bytes instead of {expected['bytes']}"
            if sha256(path) != expected["sha256"]:
                return f"{name} has another SHA-256 than when it was saved"
        return None


def read_manifest(path: Path) -> Manifest | str:
    """The manifest in ``path``, or the reason why there is none."""
    try:
        content = json.loads(path.read_bytes())
        if content["format"] > FORMAT:
            return f"{path.name} has format {content['format']}, newer than this version of runner"
        manifest = Manifest(**content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"{path.name} is not readable as a manifest: {error}"
    if manifest.name != path.name.removesuffix(SUFFIX):
        return f"{path.name} is the manifest of {manifest.name}"
    if any(Path(name).name != name for name in manifest.files):
        return f"{path.name} names files outside its directory"
    return manifest


def manifest_files(directory: Path) -> list[Path]:
    """The manifests in ``directory``: JSON files that stand beside a checkpoint's index."""
    if not directory.is_dir():
        return []
    files = (path for path in directory.iterdir() if path.suffix == SUFFIX)
    return sorted(path for path in files if path.with_suffix(".index").is_file())


def read_manifests(directory: Path) -> list[Manifest]:
    """The readable manifests in ``directory``, the newest last."""
    found = [read_manifest(path) for path in manifest_files(directory)]
    manifests = [manifest for manifest in found if isinstance(manifest, Manifest)]
    return sorted(manifests, key=lambda manifest: manifest.order)


def file_entry(path: Path) -> dict[str, Any]:
    """Size and digest of one file, as a manifest lists them."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}
