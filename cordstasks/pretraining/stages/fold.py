"""Stage ``fold``: the CNN's normalisation goes into its convolutions and into bias maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cordstasks.cordsnet import architecture as arch
from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.feedforward import Folded, FoldedArea, fold

NEEDS = ("cnn",)
LARGEST_ERROR = 1e-4
IMAGES = 100  # that the promise is checked with


def run(context: Context) -> None:
    """Fold ``cnn.safetensors`` into ``fold.safetensors``, and check that it computes the same.

    Raises
    ------
    InputError
        If it does not, which tells of activities beyond the precision of float32.
    """
    context.require("fold", "cnn")
    cnn = context.read_cnn().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    folded = fold(cnn, context.settings.image_size)
    images, _ = context.images.test.batch(torch.arange(min(IMAGES, len(context.images.test))))
    x = context.presentation.test(images)
    with torch.no_grad():
        expected = cnn.areas(x)[1]
    errors = [
        float((ours - own).abs().max() / own.abs().max().clamp_min(1e-12))
        for ours, own in zip(activities(folded, x), expected, strict=True)
    ]
    context.note("fold", "after", {"largest relative difference by area": errors})
    if max(errors) > LARGEST_ERROR:
        raise InputError(
            f"{context.result('cnn')}: folded, its area {errors.index(max(errors))} differs by {max(errors):.1e} of its "
            f"largest activity, more than {LARGEST_ERROR:g}; train it with a smaller cnn_learning_rate"
        )
    context.save_tensors("fold", as_tensors(folded, cnn.readout))


@torch.no_grad()
def activities(folded: Folded, x: Tensor) -> list[Tensor]:
    """The CNN's activity of every area for normalised images (image, channel, S, S)."""
    drive, rates = folded.drive(x), list[Tensor]()
    for area in range(len(folded.areas)):
        rates.append(folded.activity(area, folded.input(area, drive, rates)))
    return rates


def as_tensors(folded: Folded, readout: nn.Linear) -> dict[str, Tensor]:
    """A folded CNN and its read-out as named tensors."""
    tensors = {"stem": folded.stem, "inp_skip": folded.inp_skip}
    tensors |= {f"skips.{number}": skip for number, skip in enumerate(folded.skips)}
    for number, area in enumerate(folded.areas):
        tensors |= {f"areas.{number}.{name}": value for name, value in vars(area).items()}
    tensors |= {"readout.weight": readout.weight, "readout.bias": readout.bias}
    return tensors


def read_folded(context: Context, stage: str) -> tuple[Folded, nn.Linear]:
    """What stage ``fold`` has left, for another stage: the folded CNN and its read-out."""
    context.require(stage, "fold")
    tensors = context.read_tensors("fold")
    depth = context.settings.depth
    try:
        folded = Folded(
            stem=tensors["stem"],
            inp_skip=tensors["inp_skip"],
            skips=[tensors[f"skips.{number}"] for number in range(depth // 2 - 1)],
            areas=[
                FoldedArea(**{name: tensors[f"areas.{number}.{name}"] for name in ("inp", "rec", "before", "after")})
                for number in range(depth)
            ],
            sides=arch.area_sides(context.settings.image_size, depth),
        )
        weight = tensors["readout.weight"]
        readout = nn.Linear(weight.shape[1], weight.shape[0], device=context.device)
        readout.load_state_dict({"weight": weight, "bias": tensors["readout.bias"]})
    except KeyError as error:
        raise InputError(f"{context.result('fold')}: lacks {error}; remove it and run stage=fold again") from error
    return folded, readout
