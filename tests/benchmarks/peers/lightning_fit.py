"""Steps per second of PyTorch Lightning's Trainer, with nothing on that it could do without."""

from __future__ import annotations

import lightning
import torch
import torchmetrics

from tests.benchmarks.peers.common import Stopwatch, tell
from tests.benchmarks.peers.torch_net import loader, network, stopwatch_asked_for


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.loss = torch.nn.CrossEntropyLoss()
        self.accuracy = torchmetrics.classification.MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        outputs = self.model(x)
        loss = self.loss(outputs, y)
        self.accuracy(outputs, y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        self.log("accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


class Until(lightning.Callback):
    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Classifier) -> None:
        trainer.should_stop = self._stopwatch.has_seen_enough(trainer.num_training_batches)


def main() -> None:
    stopwatch = stopwatch_asked_for(__doc__)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        callbacks=[Until(stopwatch)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), loader())
    tell(steps_per_s=stopwatch.steps_per_s)


if __name__ == "__main__":
    main()
