"""The group ``model=``: the trunk, and the head with its pooling."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from camexp.config.options import Options, as_written
from camexp.errors import UserError

_POOLS = ("tap", "lse", "gem", "attention")


def _require_head(head: Any) -> Any:
    if not isinstance(head, (dict, HeadOptions)) and head not in ("cam", "gap"):
        raise ValueError("is not a head: expected cam, gap, or its options as model.head.dropout=0")
    return head


def _require_layers(layers: Any) -> Any:
    named = isinstance(layers, list) and layers and all(isinstance(layer, str) for layer in layers)
    if layers is not None and not (named and len(set(layers)) == len(layers)):
        raise ValueError("is not a list of layers, each named once: expected null, or as [conv4_3,conv5_3]")
    return layers


class HeadOptions(Options):
    kind: Literal["cam", "gap"] = Field(
        "cam", description="gap: without the convolution; model.head=gap has a bias and neither dropout nor l2 besides"
    )
    channels: int = Field(1024, ge=1, le=65536, description="of the 3×3 convolution conv_cam")
    dropout: float = Field(0.5, ge=0, le=0.99, description="of the pooled activations")
    bias: bool = Field(False, description="of the linear layer")
    init_std: float = Field(0.01, ge=1e-8, le=10, description="σ of the truncated normal the head starts from")
    l2: float = Field(0.01, ge=0, le=1e6, description="factor of ½‖w‖² over the head's two weight matrices")
    pool: Literal["gap", "tap", "lse", "gem", "attention"] = Field(
        "gap",
        description="global average; thresholded average; log-sum-exp of the maps; generalised mean; learnt attention. "
        "With gap alone the mean of a map is its logit",
    )
    tap_threshold: float = Field(0.1, ge=0, lt=1, description="θ of tap: the share of a channel's maximum")
    lse_r: float = Field(5.0, ge=1e-3, le=1e3, description="r of lse: 0.001 is nearly the mean, 1000 the maximum")
    gem_p: float = Field(3.0, ge=1, le=100, description="p of gem: 1 is the mean, 100 nearly the maximum")
    attention_channels: int = Field(128, ge=1, le=65536, description="of attention's hidden layer")
    attention_gated: bool = Field(False, description="attention with its gate")
    cells: int = Field(
        1, ge=1, le=16, description="of gap: n×n cells of the image, each with class weights of its own; 1: all one"
    )
    power: float = Field(
        1.0, ge=0.1, le=1, description="of gap: the exponent of the pooled activations; 0.5: their square roots"
    )
    norm: Annotated[float, Field(ge=1e-3, le=1e4)] | None = Field(
        None, description="of gap: the L2 norm that each image's pooled activations are scaled to; null: unscaled"
    )

    @model_validator(mode="after")
    def _is_of_the_pool(self) -> Self:
        for name, field in type(self).model_fields.items():
            pool, _, rest = name.partition("_")
            if rest and pool in _POOLS and pool != self.pool and getattr(self, name) != field.default:
                raise UserError(
                    f"model.head.{name}={as_written(getattr(self, name))} is of model.head.pool={pool}, not of "
                    f"{self.pool}: leave it out, or choose that"
                )
        for name in ("cells", "power", "norm"):
            if self.pool != "gap" and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise UserError(
                    f"model.head.{name}={as_written(value)} is of model.head.pool=gap, not of {self.pool}: "
                    "leave it out, or choose that"
                )
        return self


class ModelOptions(Options):
    trunk: str = Field("vgg19", description="vgg11 … vgg19, each also with _bn; timm/NAME; torchvision/NAME")
    width: float = Field(
        1.0, ge=1e-3, le=8, description="the share of each convolution's channels; 1 is the published network"
    )
    weights: str | None = Field(
        "imagenet", description="imagenet (torchvision's download), a .npy, .pth, .pt or .safetensors, or null"
    )
    freeze: str = Field(
        "trunk", description="none, trunk, or the first layer to train (conv5_1): all before it is frozen"
    )
    output_stride: int | None = Field(
        None,
        description="16 or 8: finer maps by dilating the last stages, in timm's and torchvision's networks that can",
    )
    out_layers: Annotated[list[str] | None, BeforeValidator(_require_layers)] = Field(
        None,
        description="null: the trunk's last; or [conv4_3,conv5_3]: these side by side, at the finest one's resolution; "
        "of a ViT [norm] or blocks as [blocks.8]",
    )
    head: Annotated[Literal["cam", "gap"] | HeadOptions, BeforeValidator(_require_head)] = Field(
        HeadOptions(), description="model.head=gap: global average pooling and the linear layer alone"
    )

    @model_validator(mode="after")
    def _freezes_what_was_learnt(self) -> Self:
        if self.weights is None and self.freeze != "none":
            raise UserError(
                f"model.freeze={self.freeze} with model.weights=null would freeze random convolutions: "
                "give model.weights=imagenet or a path, or model.freeze=none"
            )
        return self
