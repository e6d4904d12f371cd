"""Vision transformers of timm as trunks: their patch tokens are the features in space."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from camexp.errors import UserError, reason
from camexp.models.stages import TOKENS, take_layers
from camexp.models.trunks import Trunk

# of timm's families those whose tokens keep their places from the first block to the last
FAMILIES = ("vision_transformer", "deit", "eva")
# what published files have and the tokens do not need: the classifier, and what DINO trains the backbone with
BEYOND = ("head", "fc_norm", "attn_pool", "pre_logits", "dist_token_head", "mask_token", "norm_head")
WRAPPERS = ("teacher", "model", "state_dict", "student")  # in this order: DINO's teacher is what is used afterwards
PREFIXES = ("module.", "backbone.", "encoder.")


def is_vision_transformer(name: str) -> bool:
    """Whether a network of timm is one of those."""
    import timm.models

    return timm.models.is_model_in_modules(name.partition(".")[0], list(FAMILIES))


def vision_transformer(name: str, output_stride: int | None = None) -> Trunk:
    """A vision transformer of timm (Dosovitskiy et al., ICLR 2021) as a trunk: ``(B, 3, H, W)`` to ``(B, D, h, w)``.

    Its features are the patch tokens after the last norm, without the class token and registers, which only the blocks
    see. Networks that were published with average pooling have that norm after the pooling and none of tokens: their
    features are the last block's.

    Images of any size are taken: the position embedding is resampled as timm does it, and a side that is no multiple of
    the patch is padded with zeros at its end (the colour of the mean), so that a map's last row or column may reach up
    to a patch beyond the image.

    Raises:
        UserError: an output stride, or a network whose tokens cannot be had.

    >>> import torch
    >>> trunk = vision_transformer("vit_tiny_patch16_224")
    >>> trunk(torch.zeros(1, 3, 64, 90)).shape, trunk.stride, list(trunk.layers)[:2], list(trunk.layers)[-1]
    (torch.Size([1, 192, 4, 6]), 16, ['patch_embed', 'blocks.0'], 'norm')
    """
    import timm

    if output_stride is not None:
        raise UserError(f"model.output_stride={output_stride}: {name} has the stride of its patches, take null")
    try:
        network: Any = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)  # type: ignore[arg-type]
    except Exception as error:  # each family has arguments and assertions of its own
        why = reason(error)
        raise UserError(f"model.name={name} does not take images of any size ({why}): take another") from error
    if not hasattr(network, TOKENS) or not hasattr(network, "forward_intermediates"):
        raise UserError(f"model.name={name} gives no patch tokens with this version of timm: take another, or a CNN")
    blocks = {f"blocks.{number}": [block] for number, block in enumerate(network.blocks)}
    inside = {*network.blocks.parameters(), *network.norm.parameters()}
    # class token, position embedding …, which are no modules, freeze with the patches; a list that only refers to them
    before = nn.ParameterList([one for one in network.parameters() if one not in inside])
    layers = {"patch_embed": [network.patch_embed, before], **blocks}
    if any(True for _ in network.norm.parameters()):
        layers["norm"] = [network.norm]
    trunk = Trunk(network, network.num_features, 16, layers, BEYOND, prefix="")
    trunk.normalisation = tuple(network.pretrained_cfg["mean"]), tuple(network.pretrained_cfg["std"])
    trunk.published = published_weights
    try:
        take_layers(trunk, ["norm"])
    except UserError:
        raise
    except Exception as error:  # a network that passes images on in a way of its own
        raise UserError(f"model.name={name} gives no patch tokens ({reason(error)}): take another, or a CNN") from error
    return trunk


def published_weights(state: Mapping[str, Any], trunk: Trunk) -> Mapping[str, Any]:
    """What a published file holds of a vision transformer, by timm's names and for this trunk's grid of patches.

    DINO's checkpoints hold a student and a teacher, which is taken, with ``module.`` and ``backbone.`` before the
    names. The position embedding of another grid is resampled by timm's own rule, and DINOv2's names become timm's.

    Args:
        state: a file's content.
        trunk: see :func:`vision_transformer`.
    """
    while wrapper := next((key for key in WRAPPERS if isinstance(state.get(key), Mapping)), None):
        state = state[wrapper]
    for prefix in PREFIXES:
        state = {str(key).removeprefix(prefix): value for key, value in state.items()}
    network: Any = trunk.features
    patches = state.get("patch_embed.proj.weight")
    if not isinstance(patches, Tensor) or patches.shape != network.patch_embed.proj.weight.shape:
        return state  # another network's, or for patches of another size: what does not fit is told by its shape
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    if isinstance(network, VisionTransformer):
        with suppress(Exception):  # tokens that are no grid: as above
            return checkpoint_filter_fn(dict(state), network)
    return state
