"""The small network in PyTorch, for the two peers that use it."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.peers.common import BATCH, digits


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
    )


def loader() -> DataLoader:
    x, y = digits()
    dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y).long())
    return DataLoader(dataset, batch_size=BATCH, shuffle=True)
