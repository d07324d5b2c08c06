"""Steps per second of a plain PyTorch loop, as PyTorch's own tutorial writes it."""

from __future__ import annotations

import torch

from tests.benchmarks.peers.common import tell
from tests.benchmarks.peers.torch_net import loader, network, stopwatch_asked_for


def main() -> None:
    stopwatch = stopwatch_asked_for(__doc__)
    batches, model = loader(), network()
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    while True:
        total, correct = torch.zeros(()), torch.zeros(())
        for x, y in batches:
            outputs = model(x)
            loss = loss_function(outputs, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
            correct += (outputs.argmax(1) == y).sum()
        total.item(), correct.item()
        if stopwatch.has_seen_enough(len(batches)):
            break
    tell(steps_per_s=stopwatch.steps_per_s)


if __name__ == "__main__":
    main()
