"""What stands around the convolutions of a network, as settings; nothing here loads torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volunet.config import Settings

Normalisation = Literal["instance", "batch", "group", "layer", "none"]
Activation = Literal["leaky_relu", "relu", "elu", "gelu", "silu", "mish"]
Initialisation = Literal["he", "xavier", "orthogonal", "torch"]
Share = Annotated[float, Field(ge=0, lt=1)]


class LayerSettings(Settings):
    """Normalisation, activation, dropout and first weights; as they come, those of nnU-Net.

    Args:
        normalisation: "instance" (Ulyanov et al. 2016, arXiv:1607.08022), "batch" (Ioffe and
            Szegedy 2015, arXiv:1502.03167), "group" (Wu and He 2018, arXiv:1803.08494), "layer"
            over the channels of each voxel (Ba et al. 2016, arXiv:1607.06450, as in ConvNeXt,
            arXiv:2201.03545), or "none", and then convolutions have a bias.
        groups: of group normalisation, at most: the most that divide the channels are taken.
        activation: "leaky_relu" (Maas et al. 2013), "relu", "elu" (Clevert et al. 2015,
            arXiv:1511.07289), "gelu" (Hendrycks and Gimpel 2016, arXiv:1606.08415), "silu"
            (Elfwing et al. 2017, arXiv:1702.03118) or "mish" (Misra 2019, arXiv:1908.08681).
        slope: of the leaky ReLU below 0.
        dropout: share of feature maps that each activation loses while training (Tompson et al.
            2015, arXiv:1411.4280). In a residual block only the first one does, so that the
            shortcut stays whole (Zagoruyko and Komodakis 2016, arXiv:1605.07146).
        initialisation: of convolutions: "he" (He et al. 2015, arXiv:1502.01852), "xavier" (Glorot
            and Bengio 2010), "orthogonal" (Saxe et al. 2013, arXiv:1312.6120), with biases 0; or
            "torch", as torch's layers draw their own weights and biases.
        head_initialisation: of the last convolution, which gives the logits.
    """

    normalisation: Normalisation = "instance"
    groups: Annotated[int, Field(ge=1)] = 32
    activation: Activation = "leaky_relu"
    slope: Share = 0.01
    dropout: Share = 0.0
    initialisation: Initialisation = "he"
    head_initialisation: Initialisation = "he"

    @model_validator(mode="after")
    def _say_nothing_in_vain(self) -> Self:
        fields, kind, bends = type(self).model_fields, self.normalisation, self.activation
        if kind != "group" and self.groups != fields["groups"].default:
            raise ValueError(f'groups are those of normalisation = "group", not of {kind!r}')
        if bends != "leaky_relu" and self.slope != fields["slope"].default:
            raise ValueError(f'slope is that of activation = "leaky_relu", not of {bends!r}')
        return self

    @property
    def rectifier_slope(self) -> float | None:
        """What the activation multiplies numbers below 0 with, if that is all it does."""
        return {"leaky_relu": self.slope, "relu": 0.0}.get(self.activation)


USUAL = LayerSettings()
"""Instance normalisation, leaky ReLU of slope 0.01, no dropout, He's weights."""
