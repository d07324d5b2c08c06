"""Steps per second of a plain PyTorch loop, as PyTorch's own tutorial writes it."""

from __future__ import annotations

import argparse

import torch

from tests.benchmarks.peers.common import Stopwatch, tell
from tests.benchmarks.peers.torch_net import loader, network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, help="leave out for PyTorch's default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    stopwatch = Stopwatch(options.seconds)
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
