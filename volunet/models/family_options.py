"""What the families of networks take beside the fields of a specification."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from volunet.config import Settings

Positive = Annotated[int, Field(ge=1)]


class Depths(Settings):
    """Args of nnU-Net's networks.

    Args:
        depths: blocks in each stage of the encoder; by default as nnU-Net plans them.
        decoder_depths: convolutions in each stage of the decoder; by default as nnU-Net plans them.
    """

    depths: tuple[Positive, ...] | None = None
    decoder_depths: tuple[Positive, ...] | None = None


class Padding(Settings):
    """Args of the networks that were published without padding.

    Args:
        padded: convolutions see zeros around their maps, and the logits have the image's size.
    """

    padded: bool = False


class OriginalOptions(Padding):
    """Args of the U-Net of 2015.

    Args:
        dropout: share of numbers lost while training at the end of the way down.
    """

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class MedNeXtOptions(Settings):
    """Args of MedNeXt.

    Args:
        size: of those in the paper.
        kernel: side of the kernels that look around.
        first: channels of the finest stage, doubled from stage to stage.
    """

    size: Literal["S", "B", "M", "L"] = "S"
    kernel: Literal[3, 5, 7] = 3
    first: Positive = 32


class EncoderOptions(Settings):
    """Args of a U-Net on a classification network.

    Args:
        encoder: a name in `volunet.models.encoders.catalogue`.
        decoder_features: channels of the decoder's stages, finest first.
    """

    encoder: str = "resnet34"
    decoder_features: tuple[Positive, ...] = (16, 32, 64, 128, 256)
