"""CordsNet, a feed-forward CNN and a discrete-time recurrent CNN, shown the same things over time, also under noise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from cordstasks.pretraining.datasets import GREY, PREPROCESSING
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.pipeline import recorded
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.recurrent import RecurrentCNN
from cordstasks.utils.run_folder import RunFolder

__all__ = [
    "CordsNetInTime",
    "FeedForwardInTime",
    "InTime",
    "Noise",
    "RecurrentInTime",
    "read_cnn",
    "read_cordsnet",
    "rest",
    "run",
]

State = list[Tensor]


@dataclass(frozen=True)
class Noise:
    """White noise that is drawn anew at each step of a network.

    Attributes
    ----------
    image : float
        Standard deviation of what is added to the normalised image, also where there is none.
    units : tuple of float
        For each area, the standard deviation of what is added inside the activation of every unit; empty for none.
    """

    image: float = 0.0
    units: tuple[float, ...] = ()


class InTime(Protocol):
    """A network that is shown images and blanks over time."""

    name: str
    """What tables and figures call it."""
    step_ms: float
    """Time between its states, in ms."""
    classes: int
    """Number of classes."""
    digest: str
    """SHA-256 of its weights."""

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalised images (image, channel, S, S) of uint8 images (image, height, width, channel)."""

    def zero_state(self, x: Tensor) -> State:
        """Zero activity (image, channel, height, width) of every area."""

    def step(self, state: State, x: Tensor, noise: Noise, generator: torch.Generator) -> State:
        """The activity of every area one step later, with normalised images `x`; zeros are no image."""

    def logits(self, state: State) -> Tensor:
        """Logits (image, class) of a state."""


@torch.no_grad()
def run(
    network: InTime,
    shown: Sequence[tuple[Tensor | None, float]],
    state: State,
    *,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[float, State]]:
    """Show images and blanks one after the other.

    Parameters
    ----------
    network : InTime
    shown : sequence of (Tensor (image, channel, S, S) or None, float)
        Normalised images, or None for no image, each with its duration in ms. Periods begin and end at the network's
        nearest steps.
    state : list of Tensor (image, channel, height, width)
        Activity at the beginning.
    noise : Noise, optional
        White noise; by default none.
    generator : torch.Generator, optional
        Where it is drawn from.

    Yields
    ------
    float
        Time after the beginning in ms, from the first step on.
    list of Tensor (image, channel, height, width)
        Activity of every area at this time. Do not modify it.

    Raises
    ------
    InputError
        If no image is shown.
    """
    noise, generator = noise or Noise(), generator or torch.Generator().manual_seed(0)
    images = [x for x, _ in shown if x is not None]
    if not images:
        raise InputError("shown: holds no image, so that the size of none is not known; give a tensor of zeros for it")
    blank = torch.zeros_like(images[0])
    done, end = 0, 0.0
    for x, duration in shown:
        end += duration
        while done < round(end / network.step_ms):
            state = network.step(state, blank if x is None else x, noise, generator)
            done += 1
            yield done * network.step_ms, state


def rest(network: InTime, x: Tensor, duration: float) -> State:
    """The activity of every area for each image of `x` after so many ms without an image, from zero activity.

    It does not depend on the images, so it is simulated once.

    Returns
    -------
    list of Tensor of shape (image, channel, height, width)
        One an area.
    """
    state = network.zero_state(x[:1])
    for _, state in run(network, [(torch.zeros_like(x[:1]), duration)], state):
        pass
    return [r.expand(len(x), *r.shape[1:]).clone() for r in state]


def white(like: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """White noise of standard deviation `size`, drawn on the CPU so that every device gets the same."""
    return (size * torch.randn(like.shape, generator=generator)).to(like)


def digest_of(network: nn.Module) -> str:
    """SHA-256 of a network's tensors, by name."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


class CordsNetInTime:
    """A CordsNet, run by its frozen simulator.

    Parameters
    ----------
    network : CordsNet
        A relu network without noise of its own.
    name : str
        What tables and figures call it.
    """

    def __init__(self, network: CordsNet, name: str = "CordsNet") -> None:
        self.name, self.step_ms, self.classes, self.digest = name, network.dt, network.classes, digest_of(network)
        self._network, self._simulator = network, Simulator(network)
        self._shown: tuple[Tensor, list[Tensor]] | None = None

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalised images (image, channel, S, S) of uint8 images (image, height, width, channel).

        Returns
        -------
        Tensor of shape (image, channel, S, S)
            Float32.
        """
        return self._network.preprocess(images)

    def zero_state(self, x: Tensor) -> State:
        """Zero activity of every area.

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area.
        """
        return self._simulator.zero_state(len(x))

    def step(self, state: State, x: Tensor, noise: Noise, generator: torch.Generator) -> State:
        """The activity one Euler step later; noise of units is inside the relu, as in `CordsNet.step`.

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area; `state` is not modified.
        """
        if noise.image:
            drives = self._simulator.drives(x + white(x, noise.image, generator))
        else:
            if self._shown is None or self._shown[0] is not x:
                self._shown = x, self._simulator.drives(x)
            drives = self._shown[1]
        if noise.units:
            drives = [d + white(r, size, generator) for d, r, size in zip(drives, state, noise.units, strict=True)]
        new = [r.clone(memory_format=torch.channels_last) for r in state]
        self._simulator.step(new, drives)
        return new

    @torch.no_grad()
    def logits(self, state: State) -> Tensor:
        """Logits (image, class) of a state.

        Returns
        -------
        Tensor of shape (image, class)
            Read out of the last two areas.
        """
        return self._network.readout(state[-1], state[-2])


class _CNNInTime:
    """What the other two networks have in common.

    Parameters
    ----------
    cnn : FeedForward
        Trained.
    presentation : Presentation
        How it sees images.
    name : str
        What tables and figures call it.
    step_ms : float
        Time that a step stands for, in ms.
    """

    def __init__(self, cnn: FeedForward, presentation: Presentation, name: str, step_ms: float) -> None:
        self.name, self.step_ms, self.classes, self.digest = name, step_ms, cnn.readout.out_features, digest_of(cnn)
        self._cnn, self._presentation = cnn.eval(), presentation

    def preprocess(self, images: Tensor) -> Tensor:
        """Normalised images (image, channel, S, S) of uint8 images (image, height, width, channel)."""
        return self._presentation.test(images)

    def zero_state(self, x: Tensor) -> State:
        """Zero activity of every area."""
        return [torch.zeros_like(r) for r in self._cnn.areas(x)[1]]

    @torch.no_grad()
    def logits(self, state: State) -> Tensor:
        """Logits (image, class) of a state."""
        return self._cnn.logits(state)

    def step(self, state: State, x: Tensor, noise: Noise, generator: torch.Generator) -> State:
        """The activity one step later; noise of units is added behind the last normalisation of an area, before its relu."""
        if noise.image:
            x = x + white(x, noise.image, generator)
        handles = []
        for norm, size in zip(self._cnn.bn2, noise.units, strict=False):
            handles.append(norm.register_forward_hook(_adding(size, generator)))
        try:
            return self._next(state, x)
        finally:
            for handle in handles:
                handle.remove()

    def _next(self, state: State, x: Tensor) -> State:
        raise NotImplementedError


def _adding(size: float, generator: torch.Generator):  # type: ignore[no-untyped-def]
    def hook(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + white(output, size, generator)

    return hook


class FeedForwardInTime(_CNNInTime):
    """A feed-forward CNN, which computes each step from the image of this step alone."""

    def _next(self, state: State, x: Tensor) -> State:
        return self._cnn.areas(x)[1]


class RecurrentInTime(_CNNInTime):
    """A discrete-time recurrent CNN."""

    def _next(self, state: State, x: Tensor) -> State:
        assert isinstance(self._cnn, RecurrentCNN)
        return self._cnn.step(state, self._cnn.drive(x))[1]


def read_cordsnet(name: str) -> CordsNetInTime:
    """A CordsNet by its name or file.

    Returns
    -------
    CordsNetInTime
        Named after its depth, such as ``"CordsNet-R8"``.

    Raises
    ------
    InputError
        If there is none, or it is no relu network.
    """
    network = load(name)
    return CordsNetInTime(network, f"CordsNet-R{network.depth}")


def read_cnn(folder: Path, stage: str, step_ms: float) -> FeedForwardInTime | RecurrentInTime:
    """What stage ``"cnn"`` or ``"recurrent"`` of a pre-training has left.

    Parameters
    ----------
    folder : Path
        Of the pre-training.
    stage : str
        Its name.
    step_ms : float
        Time that a step stands for, in ms.

    Returns
    -------
    FeedForwardInTime or RecurrentInTime
        On the CPU.

    Raises
    ------
    InputError
        If the folder holds no pre-training, or not what the stage leaves.
    """
    flag = "cnn" if stage == "cnn" else "recurrent"
    run_folder = RunFolder(folder)
    settings, path = recorded(run_folder), folder / f"{stage}.safetensors"
    if not path.is_file():
        raise InputError(
            f"{flag}={folder}: has no {path.name}; run python -m cordstasks.pretrain --stage {stage} there first"
        )
    try:
        state = load_file(path)
        classes, channels = len(state["readout.weight"]), state["stem.weight"].shape[1]
        common = {"classes": classes, "in_channels": channels}
        cnn = (
            FeedForward(settings.depth, **common)
            if stage == "cnn"
            else RecurrentCNN(settings.depth, steps=settings.recurrent_steps, **common)
        )
        cnn.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: cannot be used ({str(error).splitlines()[0][:150]}); run its stage again") from error
    own = GREY if channels == 1 and settings.dataset == "folder" else PREPROCESSING[settings.dataset]
    presentation = Presentation(settings.image_size, own.mean, own.std, classes=classes, device=torch.device("cpu"))
    cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if stage == "cnn":
        return FeedForwardInTime(cnn, presentation, f"CNN-R{settings.depth}", step_ms)
    return RecurrentInTime(cnn, presentation, f"recurrent CNN-R{settings.depth}", step_ms)
