"""The code behind a run as far as no revision holds it, so that it can be had again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from runner.targets.modules import NotFound, module_file
from runner.targets.sources import module_of

MOST_BYTES = 10_000_000
_DIFF = (
    *("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--binary", "--full-index"),
    *("--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
)


class TooLarge(Exception):
    """There is more than is kept."""


def difference(sources: Iterable[str], *, here: Path) -> bytes | None:
    """What ``patch`` and ``git apply`` take: changed files of repositories, and files that none holds.

    All that differs in the repository of ``here``, elsewhere only what stands behind targets.

    Args:
        sources: the files behind the targets, as `runner.targets.sources` names them.

    Returns:
        None if there is nothing that a revision does not hold.

    Raises:
        TooLarge: it has more than ``MOST_BYTES``.
    """
    files = _paths(sources)
    home = _repository(here.resolve() / "here")
    roots = {path: _repository(path) for path in files.values()}
    parts = []
    for root in dict.fromkeys([home, *roots.values()]):
        own = [path for path, place in roots.items() if place == root]
        if root is not None:
            parts.append(_changed(root, [] if root == home else own))
        held = _held(root, own) if root is not None else set()
        parts += [
            _as_new(path, str(path.relative_to(root)) if root == home and root else name)
            for name, path in files.items()
            if path in own and path not in held
        ]
    content = b"".join(parts)
    if len(content) > MOST_BYTES:
        raise TooLarge
    return content or None


def _paths(sources: Iterable[str]) -> dict[str, Path]:
    """Where the files stand, by their names."""
    found = {}
    for name in sources:
        with suppress(NotFound):
            file = module_file(module_of(name))
            if file is not None and file.is_file():
                found[name] = file.resolve()
    return found


def _repository(file: Path) -> Path | None:
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def _changed(root: Path, only: list[Path]) -> bytes:
    """What differs from the last commit, in all of the repository or in some files."""
    content = _git(root, *_DIFF, "--", *map(str, only))
    revision = _git(root, "rev-parse", "HEAD").decode().strip()
    return f"# {root.name}, as it differs from {revision}\n".encode() + content if content else b""


def _held(root: Path, files: list[Path]) -> set[Path]:
    """Those files that the last commit has."""
    paths = [str(path.relative_to(root)) for path in files]
    names = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", *paths) if paths else b""
    return {root / name for name in names.decode(errors="surrogateescape").split("\0") if name}


def _as_new(path: Path, name: str) -> bytes:
    """A whole file, as it is shown where it is added."""
    with path.open("rb") as file:
        lines = file.readlines()
    if not lines:
        return b""
    head = (
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return head.encode() + b"".join(_added(lines))


def _added(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield b"+" + line
    if not lines[-1].endswith(b"\n"):
        yield b"\n\\ No newline at end of file\n"


def _git(root: Path, *arguments: str) -> bytes:
    """What git prints; nothing where there is no git, or it fails.

    Raises:
        TooLarge: as for ``difference``.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        ) as process:
            content = process.stdout.read(MOST_BYTES + 1) if process.stdout else b""
            if len(content) > MOST_BYTES:
                process.kill()
                raise TooLarge
    except OSError:
        return b""
    return content if process.returncode == 0 else b""
