"""What a stage works with: settings, images, the run's folder, and what the stages before have left there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.pretraining.datasets import Pair
from cordstasks.pretraining.deadline import Deadline
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.loop import Training, cosine, in_words, run_training
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.files import Log, write_bytes
from cordstasks.utils.run_folder import RunFolder

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """Everything that a stage is given.

    Attributes
    ----------
    settings : PretrainSettings
    images : Pair
        Training and test images.
    presentation : Presentation
        How they are shown.
    folder : RunFolder
        Of the run.
    device : torch.device
    deadline : Deadline
    command : str
        The command that makes the weights, for their cards.
    processes : Processes
        Those that train together.
    """

    settings: PretrainSettings
    images: Pair
    presentation: Presentation
    folder: RunFolder
    device: torch.device
    deadline: Deadline
    command: str
    processes: Processes

    def result(self, stage: str) -> Path:
        """The file that a stage leaves behind; it is there if and only if the stage has come to its end."""
        return self.folder.path / f"{stage}.safetensors"

    def log(self, stage: str) -> Log:
        """The log of a stage."""
        return Log(self.folder.path / f"{stage}.jsonl")

    def require(self, stage: str, *needed: str) -> str:
        """The first of the needed stages that has come to its end.

        Raises
        ------
        InputError
            If none has.
        """
        for name in needed:
            if self.result(name).exists():
                return name
        raise InputError(
            f"stage={stage}: {self.folder.path} has no {self.result(needed[0]).name}; run stage={needed[0]} in it first, or "
            "stage=all"
        )

    def note(self, stage: str, when: str, values: Mapping[str, Any]) -> None:
        """Log and print what a stage promises, ``"before"`` or ``"after"`` it."""
        log = self.log(stage)
        if not self.processes.main or any(row.get("when") == when for row in log.read()):
            return
        log.write({"stage": stage, "when": when, **values})
        print(f"{stage}, {when}: {in_words(values)}", flush=True)

    def train(self, training: Training) -> None:
        """Run the loop with the checkpoint and log of the training's stage."""
        checkpoint = self.folder.path / f"{training.stage}.pt"
        run_training(
            training,
            self.images.train,
            self.presentation,
            checkpoint,
            self.log(training.stage),
            deadline=self.deadline,
            processes=self.processes,
        )

    def finish(self, stage: str, write: Callable[[Path], None]) -> None:
        """Let the first process write the result of a stage, and remove its checkpoint."""
        if self.processes.main:
            write(self.result(stage))
            (self.folder.path / f"{stage}.pt").unlink(missing_ok=True)
        self.processes.wait()

    def save_tensors(self, stage: str, tensors: Mapping[str, Tensor], **metadata: str) -> None:
        """Leave tensors as a stage's result."""
        whole = {name: value.detach().contiguous() for name, value in tensors.items()}
        self.finish(stage, lambda path: write_bytes(path, to_bytes(whole, metadata={"command": self.command, **metadata})))

    def common(self, stage: str) -> dict[str, Any]:
        """What `Training` takes from the settings of a stage that has the usual ones."""
        own = self.settings
        return {
            "stage": stage,
            "epochs": getattr(own, f"{stage}_epochs"),
            "batch": getattr(own, f"{stage}_batch"),
            "images": getattr(own, f"{stage}_images", None),
            "clip": getattr(own, f"{stage}_clip", None),
            "accumulate": own.accumulate,
            "seed": own.seed,
            "save_seconds": own.save_seconds,
            "schedule": constant if own.schedule == "constant" else warmed if stage == "anneal" else cosine,
        }

    def network(self, slope: float = 0.0) -> CordsNet:
        """A new CordsNet for these images; `slope` is that of its activation below zero."""
        torch.manual_seed(self.settings.seed)
        network = CordsNet(
            self.settings.depth,
            classes=len(self.images.train.classes),
            in_channels=self.images.train.channels,
            image_size=self.settings.image_size,
            activation=slope,
            preprocessing=self.images.preprocessing,
        )
        return network.to(self.device)

    def save_network(self, stage: str, network: CordsNet, **more: Any) -> None:
        """Leave a CordsNet as a stage's result."""
        network.card = {"name": f"stage {stage}", "command": self.command, "slope": network.negative_slope, **more}
        self.finish(stage, lambda path: save(network, path))

    def read_network(self, stage: str, *, slope: float = 0.0) -> CordsNet:
        """The CordsNet that a stage has left, with another slope of its activation."""
        path = self.result(stage)
        network, own = load(path, map_location=self.device), self.settings
        found = (network.depth, network.image_size, network.classes, network.in_channels)
        wanted = (own.depth, own.image_size, len(self.images.train.classes), self.images.train.channels)
        if found != wanted:
            raise InputError(
                f"{path}: has (areas, px, classes, channels) {found}, but settings and images ask for {wanted}; "
                "use another folder"
            )
        network.negative_slope = slope
        return network

    def read_tensors(self, stage: str) -> dict[str, Tensor]:
        """The tensors that a stage has left."""
        path = self.result(stage)
        try:
            return load_file(path, device=str(self.device))
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it and run stage={stage} again") from error

    def new_cnn(self) -> FeedForward:
        """A CNN with random weights for these images."""
        torch.manual_seed(self.settings.seed)
        train = self.images.train
        return FeedForward(self.settings.depth, classes=len(train.classes), in_channels=train.channels).to(self.device)

    def read_cnn(self) -> FeedForward:
        """The CNN that stage ``cnn`` has left, for evaluation."""
        cnn = self.new_cnn()
        try:
            cnn.load_state_dict(self.read_tensors("cnn"))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:150]
            raise InputError(f"{self.result('cnn')}: is of another architecture ({reason}); use another folder") from error
        return cnn.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def warmed(step: int, steps: int) -> float:
    """Fraction of the peak learning rate: a linear rise over a tenth of the steps, then the peak."""
    return min(1.0, 10 * (step + 1) / steps)


def constant(step: int, steps: int) -> float:
    """The peak learning rate throughout."""
    return 1.0
