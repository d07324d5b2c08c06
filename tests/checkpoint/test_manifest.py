"""The manifest proves itself, and the files that it names, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.manifest import FORMAT, Manifest, read_manifest, read_manifests
from runner.errors import CheckpointError

Make = Callable[..., Manifest]


def written(manifest: Manifest, directory: Path) -> Path:
    path = directory / f"{manifest.name}.json"
    path.write_bytes(manifest.as_bytes())
    return path


def resealed(manifest: Manifest, directory: Path, **changes: Any) -> Path:
    """The manifest with other content, as somebody would write it who knows how."""
    import hashlib

    path = written(manifest, directory)
    content = {**json.loads(path.read_bytes()), **changes}
    content.pop("digest")
    text = json.dumps(content, sort_keys=True).encode()
    path.write_text(json.dumps({**content, "digest": hashlib.sha256(text).hexdigest()}))
    return path


def test_reads_what_was_written(manifest: Make, tmp_path: Path) -> None:
    made = manifest(
        3,
        metrics={"validation/loss": 0.1},
        record={"rows": 4, "callbacks": {"stop": {"best": float("inf")}}},
        phase=None,
        held=True,
        scheduled=False,
    )
    assert read_manifest(written(made, tmp_path)) == made


def test_lists_the_newest_last(manifest: Make, tmp_path: Path) -> None:
    orders = {10: 3, 9: 1, 100: 2}
    for number, order in orders.items():
        written(manifest(number, order=order), tmp_path)
    assert [one.number for one in read_manifests(tmp_path)] == [9, 100, 10]


def test_no_directory_holds_no_manifests(tmp_path: Path) -> None:
    assert read_manifests(tmp_path / "none") == []


def test_a_missing_file_is_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path / "ckpt-1.json") is None


@pytest.mark.parametrize("content", ['{"accuracy": 0.9}', "[1, 2]", "7"])
def test_the_json_of_somebody_else_is_no_manifest(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ckpt-1.json"
    path.write_text(content)
    assert read_manifest(path) is None
    assert read_manifests(tmp_path) == []


def test_files_that_are_whole_have_no_fault(manifest: Make, tmp_path: Path) -> None:
    assert manifest().fault(tmp_path) is None


def test_a_missing_file_is_a_fault(manifest: Make, tmp_path: Path) -> None:
    made = manifest()
    (tmp_path / "ckpt-1.index").unlink()
    assert made.fault(tmp_path) == "ckpt-1.index is missing"
    assert made.fault(tmp_path, by_size=True) == "ckpt-1.index is missing"


@pytest.mark.parametrize("change", [lambda old: old[:-1], lambda old: old + b"\0", lambda _: b""])
def test_another_size_is_a_fault(
    manifest: Make, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    made, path = manifest(), tmp_path / "ckpt-1.index"
    size = path.stat().st_size
    path.write_bytes(change(path.read_bytes()))
    new_size = path.stat().st_size
    reason = f"ckpt-1.index has {new_size} bytes instead of {size}"
    assert made.fault(tmp_path) == made.fault(tmp_path, by_size=True) == reason


def test_every_flipped_bit_of_the_files_is_a_fault(manifest: Make, tmp_path: Path) -> None:
    made = manifest()
    for name in made.files:
        path = tmp_path / name
        for flipped in flips(whole := path.read_bytes()):
            path.write_bytes(flipped)
            assert made.fault(tmp_path) == f"{name} has another SHA-256 than when it was saved"
        path.write_bytes(whole)
    assert made.fault(tmp_path) is None


def test_no_flipped_bit_of_a_manifest_gives_another_manifest(
    manifest: Make, tmp_path: Path
) -> None:
    made = manifest(metrics={"validation/accuracy": 0.5})
    path = written(made, tmp_path)
    whole = path.read_bytes()
    for flipped in flips(whole):
        path.write_bytes(flipped)
        found = read_manifest(path)
        # A flipped blank may leave the content as it was.
        assert found == made or isinstance(found, str), flipped


def test_no_truncated_manifest_is_readable(manifest: Make, tmp_path: Path) -> None:
    path = written(manifest(), tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "not readable as a manifest" in str(read_manifest(path)), length


@pytest.mark.parametrize(
    "name",
    [
        "../ckpt-1.index",
        "/etc/passwd",
        "..",
        "ckpt-1.index/../../x",
        "ckpt-10.index",
        "run.json",
        "",
    ],
)
def test_a_manifest_names_no_files_but_its_own(manifest: Make, tmp_path: Path, name: str) -> None:
    path = resealed(manifest(), tmp_path, files={name: {"bytes": 1, "sha256": ""}})
    assert "is no file of checkpoint 'ckpt-1'" in str(read_manifest(path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "ckpt-2"}, "no file of checkpoint 'ckpt-2'"),
        ({"files": {}}, "it names no files"),
        ({"order": "x"}, "order is 'x'"),
        ({"format": "1"}, "not supported between"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
)
def test_a_manifest_with_other_content_is_refused(
    manifest: Make, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert reason in str(read_manifest(resealed(manifest(), tmp_path, **changes)))


def test_a_copy_under_another_name_is_refused(manifest: Make, tmp_path: Path) -> None:
    copy = tmp_path / "ckpt-2.json"
    copy.write_bytes(manifest().as_bytes())
    assert "it is the manifest of ckpt-1" in str(read_manifest(copy))


def test_a_newer_format_stops_with_what_to_do(manifest: Make, tmp_path: Path) -> None:
    path = resealed(manifest(), tmp_path, format=FORMAT + 1, more=1)
    with pytest.raises(CheckpointError, match="only a newer version of runner reads"):
        read_manifest(path)


def flips(content: bytes) -> list[bytes]:
    changed = []
    for position in range(len(content)):
        for bit in range(8):
            one = bytearray(content)
            one[position] ^= 1 << bit
            changed.append(bytes(one))
    return changed
