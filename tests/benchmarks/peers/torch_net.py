"""The small network in PyTorch, for the two peers that use it."""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.peers.common import BATCH, Stopwatch, digits


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
    )


def loader() -> DataLoader:
    x, y = digits()
    dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y).long())
    return DataLoader(dataset, batch_size=BATCH, shuffle=True)


def stopwatch_asked_for(description: str | None) -> Stopwatch:
    """The options of both: how long to count, and with how many threads, which are set."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, help="leave out for PyTorch's default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return Stopwatch(options.seconds)
