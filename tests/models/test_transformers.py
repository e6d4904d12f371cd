"""Vision transformers as trunks, against timm's own tokens; weights as they are published."""

from argparse import Namespace

import pytest
import torch
from safetensors.torch import save_file

from camexp import UserError
from camexp.config import CAMOptions, ModelOptions
from camexp.methods import build_method
from camexp.models import CAMClassifier, Preprocessing, build_classifier, build_trunk, load_weights, pretrained

timm = pytest.importorskip("timm")
from timm.layers import resample_abs_pos_embed  # noqa: E402

VIT = "timm/test_vit"  # three blocks of 64 channels, patches of 16 pixels at 160


def published(name="test_vit", **options):
    torch.manual_seed(1)
    return timm.create_model(name, **options).eval()


def network(trunk=VIT, head=None, out_layers=None):
    torch.manual_seed(0)
    head = head or {"kind": "gap", "bias": False, "init_std": 0.3}
    return CAMClassifier(trunk, ["a", "b", "c"], Preprocessing((64, 64)), head=head, out_layers=out_layers).eval()


@pytest.mark.parametrize(
    "name", ["test_vit", "test_vit2", "test_vit3"]
)  # the second has registers, and no norm of tokens
def test_features_are_timms_patch_tokens(name, tmp_path):
    whole = published(name)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    trunk = build_trunk(f"timm/{name}").eval()
    load_weights(trunk, str(tmp_path / "w.safetensors"), f"timm/{name}")
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        tokens = whole.forward_features(images)[:, whole.num_prefix_tokens :]  # (B, 100, D), row by row
        features = trunk(images)
    for y, x in ((0, 0), (3, 7), (9, 9)):
        assert torch.allclose(features[:, :, y, x], tokens[:, 10 * y + x], atol=1e-5)
    assert (trunk.out_channels, trunk.stride) == (tokens.shape[-1], 16)


def test_other_sizes_are_timms_dynamic_ones():
    model = network()
    whole = published(dynamic_img_size=True, dynamic_img_pad=True)
    model.trunk.features.load_state_dict(whole.state_dict(), strict=False)
    for height, width in ((64, 96), (70, 100)):
        images = torch.randn(1, 3, height, width)
        padded = torch.zeros(1, 3, -(-height // 16) * 16, -(-width // 16) * 16)
        padded[..., :height, :width] = images
        with torch.no_grad():
            tokens = whole.forward_features(padded)[:, 1:].mT.unflatten(2, (padded.shape[2] // 16, -1))
            assert torch.allclose(model.trunk(images), tokens, atol=1e-5)


@pytest.mark.parametrize("head", [{"kind": "gap", "bias": False, "init_std": 0.3}, {"channels": 8, "init_std": 0.3}])
@pytest.mark.parametrize("layers", [None, ["blocks.1"], ["blocks.0", "norm"]], ids=str)
def test_the_mean_of_a_map_is_the_logit(head, layers):
    model = network(head=head, out_layers=layers)
    result = model.explain(torch.randn(2, 3, 64, 96), "all")
    assert result.maps.shape == (2, 3, 4, 6)
    assert torch.allclose(result.maps.mean((2, 3)), result.logits, atol=1e-5 * float(result.logits.abs().max() + 1))
    model.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_tokens_of_blocks_are_what_hooks_see():
    model, images, seen = network(out_layers=["blocks.0", "norm"]), torch.randn(1, 3, 64, 64), []
    model.trunk.features.blocks[0].register_forward_hook(lambda m, i, out: seen.append(out))
    model.trunk.features.blocks[-1].register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        first, last = model.trunk(images).split(64, 1)
        assert torch.equal(first, seen[0][:, 1:].mT.unflatten(2, (4, 4)))
        assert torch.allclose(last, model.trunk.features.norm(seen[1])[:, 1:].mT.unflatten(2, (4, 4)), atol=1e-6)
    cut = network(out_layers=["blocks.0"]).trunk
    assert list(cut.layers) == ["patch_embed", "blocks.0"]
    assert not [key for key in cut.features.state_dict() if key.startswith(("blocks.1", "blocks.2", "norm."))]


def test_class_token_and_position_freeze_with_the_patches():
    model = network()
    model.freeze("blocks.1")
    trained = {name.split("trunk.features.")[-1] for name, p in model.named_parameters() if p.requires_grad}
    assert not trained & {"cls_token", "pos_embed", "patch_embed.proj.weight"} and "blocks.1.norm1.weight" in trained
    assert not any(name.startswith("blocks.0") for name in trained)
    assert model.frozen_layers == ["patch_embed", "blocks.0"]
    model.freeze("trunk")
    assert model.trunk_is_frozen and not any(p.requires_grad for p in model.trunk.parameters())


def dino_checkpoint(state, prefix):
    """As facebookresearch/dino's training writes it."""
    backbone = {f"{prefix}backbone.{key}": value for key, value in state.items() if not key.startswith("head.")}
    other = {key: torch.zeros_like(value) for key, value in backbone.items()}
    head = {f"{prefix}head.mlp.0.weight": torch.zeros(3, 3)}
    return {"student": other | head, "teacher": backbone | head, "epoch": 3, "args": Namespace(arch="vit_small"),
            "optimizer": {"state": {}, "param_groups": []}, "dino_loss": {"center": torch.zeros(1, 3)}}  # fmt: skip


@pytest.mark.parametrize("layout", ["timm", "dino", "dino, full", "dino, full, one process"])
@pytest.mark.parametrize("size", [160, 96])
def test_weights_as_published(tmp_path, layout, size):
    state = published(img_size=size).state_dict()
    content = {
        "timm": state,
        "dino": {key: value for key, value in state.items() if not key.startswith("head.")},
        "dino, full": dino_checkpoint(state, "module."),
        "dino, full, one process": dino_checkpoint(state, ""),
    }[layout]
    torch.save(content, tmp_path / "w.pth")
    trunk = build_trunk(VIT)
    load_weights(trunk, str(tmp_path / "w.pth"), VIT)
    own = trunk.features.state_dict()
    for key, value in own.items():
        if key == "pos_embed":
            value, expected = own[key], resample_abs_pos_embed(state[key], [10, 10], [size // 16] * 2)
            assert torch.equal(value, expected)
        else:
            assert torch.equal(value, state[key]), key


def test_dinov2s_file_loads_and_patches_of_another_size_are_refused(tmp_path):
    state, trunk = published().state_dict(), build_trunk(VIT)
    torch.save({**state, "mask_token": torch.zeros(1, 64)}, tmp_path / "w.pth")
    load_weights(trunk, str(tmp_path / "w.pth"), VIT)
    assert torch.equal(trunk.features.cls_token, state["cls_token"])
    state["patch_embed.proj.weight"] = torch.zeros(64, 3, 14, 14)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"does not fit this trunk .*\(64, 3, 14, 14\) instead of \(64, 3, 16, 16\)"):
        load_weights(trunk, str(tmp_path / "w.pth"), VIT)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not fit this trunk .*missing: blocks.0"):
        load_weights(build_trunk(VIT), str(tmp_path / "w.pth"), VIT)
    torch.save({"teacher": {"backbone.pos_embed": torch.zeros(1, 12, 64)}}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not fit this trunk .*missing: blocks.0"):
        load_weights(build_trunk(VIT), str(tmp_path / "w.pth"), VIT)


def test_the_tag_decides_the_normalisation():
    tags = [build_trunk(f"timm/vit_tiny_patch16_224{tag}").normalisation[0] for tag in ("", ".augreg_in21k")]
    assert tags == [(0.5, 0.5, 0.5)] * 2
    assert timm.get_pretrained_cfg("vit_small_patch16_224.dino").mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("pool", ["gap", "lse", "attention"])
@pytest.mark.parametrize("options", [{"method": "pc1"}, {"affinity": "blocks.1"}, {"method": "gradcam"}], ids=str)
def test_methods_go_with_it(pool, options):
    model = network(head={"kind": "gap", "init_std": 0.3, "pool": pool})
    maps = build_method(CAMOptions(**options))(model, torch.randn(2, 3, 64, 96), "all").maps
    assert maps.shape == (2, 3, 4, 6) and maps.isfinite().all()


def test_what_is_not_possible_is_said(tmp_path):
    with pytest.raises(UserError, match="cam.affinity=auto: no layer of this trunk has twice its output's resolution"):
        build_method(CAMOptions(affinity="auto"))(network(), torch.randn(1, 3, 64, 64), "all")
    with pytest.raises(UserError, match=r"model.out_layers=blocks.7 is no stage of this network: did you mean blocks"):
        network(out_layers=["blocks.7"])
    with pytest.raises(UserError, match=r"model.freeze=blocks.7 is not none, trunk or a layer"):
        options = {"trunk": VIT, "weights": None, "freeze": "none"}
        build_classifier(ModelOptions.read(options), ["a"], (64, 64)).freeze("blocks.7")
    torch.save(published().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="does more between its features and its classes than pooling"):
        pretrained(VIT, tmp_path / "w.pth")  # its classifier looks at the class token
