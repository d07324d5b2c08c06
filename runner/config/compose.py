"""Composing configs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from runner.config.explain import explain
from runner.config.hydra import CONFIG_NAME, VERSION_BASE, config_directory, register


def compose(overrides: Sequence[str], *, directory: str | Path | None = None) -> DictConfig:
    """The config with Hydra's own node, from the runner's configs or from a saved one's directory.

    Raises:
        ConfigError: it cannot be composed.
    """
    register()
    place = str(Path(directory or config_directory()).resolve())
    with plain_errors(overrides), initialize_config_dir(place, version_base=VERSION_BASE):
        return hydra_compose(CONFIG_NAME, overrides=list(overrides), return_hydra_config=True)


@contextmanager
def plain_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Turns the errors of composing a config into one ``ConfigError``; others pass."""
    try:
        yield
    except Exception as error:
        explained = explain(error, overrides)
        if explained is None:
            raise
        raise explained from error
