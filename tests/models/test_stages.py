"""A trunk's output from named layers, against its layers' outputs put together by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from camexp import UserError
from camexp.config import ModelOptions
from camexp.features.fingerprint import describe_trunk, fingerprint
from camexp.methods import build_method
from camexp.models import CAMClassifier, Preprocessing, build_classifier, build_trunk, load_weights
from camexp.models.checkpoint import _build, checkpoint_metadata
from camexp.models.stages import side_by_side, take_layers

timm = pytest.importorskip("timm")


def network(trunk, out_layers, **options):
    torch.manual_seed(0)
    width = 1.0 if "/" in trunk else 1 / 16
    head = {"channels": 8, "init_std": 0.3}
    return CAMClassifier(
        trunk, ["a", "b", "c"], Preprocessing((64, 64)), width=width, head=head, out_layers=out_layers, **options
    ).eval()


def modules_outputs(trunk, paths, images):
    """What modules of a trunk that is not cut give, by hooks."""
    seen = {}
    hooks = [
        trunk.features.get_submodule(path).register_forward_hook(lambda m, i, out, path=path: seen.update({path: out}))
        for path in paths
    ]
    with torch.no_grad():
        trunk(images)
    for hook in hooks:
        hook.remove()
    return [seen[path] for path in paths]


def test_side_by_side_is_a_loop_over_places():
    generator = torch.Generator().manual_seed(3)
    fine, coarse = (
        torch.randn(size, generator=generator, dtype=torch.float64) for size in ((1, 2, 6, 8), (1, 3, 3, 4))
    )
    found = side_by_side([coarse, fine], [True, False])[0].numpy()
    expected = np.zeros((5, 6, 8))
    expected[3:] = fine[0]
    for y, x in np.ndindex(6, 8):  # half a step in from the corner, held at the borders
        at, beside = (np.clip([(y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5], 0, [2, 3])), np.zeros(3)
        low = np.floor(at).astype(int)
        for down, across in np.ndindex(2, 2):
            place = np.minimum(low + np.array([down, across]), [2, 3])
            share = np.prod(1 - np.abs(at - low - np.array([down, across])))
            beside += share * coarse[0, :, place[0], place[1]].numpy()
        expected[:3, y, x] = beside
    assert np.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("trunk", "names", "paths"),
    [
        ("vgg11", ["conv4_2", "conv5_2"], ["14", "19"]),
        ("vgg11_bn", ["conv5_2", "conv3_1"], ["27", "10"]),  # in the order of the names; after norm and activation
        ("vgg11", ["features.9"], ["9"]),
        ("torchvision/resnet18", ["layer3", "layer4"], ["layer3", "layer4"]),
        ("torchvision/mobilenet_v2", ["features.13", "features.18"], ["features.13", "features.18"]),
        ("timm/resnet10t", ["layer2", "layer4"], ["layer2", "layer4"]),
        ("timm/convnext_atto", ["stages.1", "stages.2"], ["stages.1", "stages.2"]),
    ],
)
def test_the_output_is_those_layers_outputs(trunk, names, paths):
    model, images = network(trunk, names), torch.randn(2, 3, 64, 96)
    whole = build_trunk(trunk, 1.0 if "/" in trunk else 1 / 16).eval()
    whole.features.load_state_dict(model.trunk.features.state_dict(), strict=False)
    given = modules_outputs(whole, paths, images)
    size = max(one.shape[-2:] for one in given)
    expected = torch.cat([nn.functional.interpolate(one, size, mode="bilinear") for one in given], 1)
    with torch.no_grad():
        features = model.trunk(images)
        assert torch.allclose(features, expected, atol=1e-6)
        assert torch.equal(copy.deepcopy(model).trunk(images), features)
        for name, parameter in copy.deepcopy(model).trunk.named_parameters():  # its own weights, not the original's
            assert parameter.data_ptr() != model.trunk.get_parameter(name).data_ptr()
    assert model.trunk.out_channels == features.shape[1] and model.trunk.stride == 64 // (size[0])
    result = model.explain(images, "all")
    assert torch.allclose(result.maps.mean((2, 3)), result.logits, atol=1e-5 * float(result.logits.abs().max() + 1))
    model.train()(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_last_layer_by_name_is_the_trunk_itself():
    model, images = network("vgg16", ["conv5_3"]), torch.randn(1, 3, 75, 131)
    plain = network("vgg16", None)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.trunk_features(images), plain.trunk_features(images))


def test_what_comes_after_the_last_of_them_is_gone_and_weights_load_without_it(tmp_path):
    model, whole = network("vgg11", ["conv3_2", "conv4_1"]), build_trunk("vgg11", 1 / 16)
    assert list(model.trunk.layers)[-1] == "conv4_1"
    torch.save({f"features.{key}": value for key, value in whole.features.state_dict().items()}, tmp_path / "w.pth")
    load_weights(model.trunk, str(tmp_path / "w.pth"), "vgg11")
    own = model.trunk.features.state_dict()
    assert len(own) == 2 * 5 and all(torch.equal(own[key], whole.features.state_dict()[key]) for key in own)
    kernels = {
        name: [conv.weight.detach().permute(2, 3, 1, 0).numpy(), conv.bias.detach().numpy()]
        for name, (conv,) in whole.layers.items()
    }
    np.save(tmp_path / "w.npy", np.array(kernels, dtype=object), allow_pickle=True)
    load_weights(model.trunk, str(tmp_path / "w.npy"), "vgg11")
    assert torch.allclose(model.trunk.layers["conv4_1"][0].weight, whole.layers["conv4_1"][0].weight)
    with pytest.raises(UserError, match="model.freeze=conv5_1 is not none, trunk or a layer"):
        model.freeze("conv5_1")


@pytest.mark.parametrize("trunk", ["vgg11_bn", "timm/resnet10t"])
def test_a_checkpoint_and_stored_features_know_the_layers(trunk):
    names = ["conv4_2", "conv5_2"] if trunk == "vgg11_bn" else ["layer3", "layer4"]
    model, images = network(trunk, names), torch.randn(1, 3, 64, 64)
    again = _build(checkpoint_metadata(model, {}), model.state_dict(), "a.ckpt").eval()
    assert again.architecture["out_layers"] == names and again.trunk.layers.keys() == model.trunk.layers.keys()
    assert torch.equal(again.explain(images, "all").maps, model.explain(images, "all").maps)
    prints = {
        fingerprint(describe_trunk(network(trunk, layers), "float16", "cpu"))
        for layers in (None, names, names[::-1], names[1:])
    }
    assert len(prints) == 4


@pytest.mark.parametrize("options", [{"affinity": "auto"}, {"method": "pc1"}, {"method": "gradcam"}], ids=str)
def test_methods_go_with_it(options):
    from camexp.config import CAMOptions

    model = network("vgg11", ["conv4_2", "conv5_2"])
    maps = build_method(CAMOptions(**options))(model, torch.randn(2, 3, 64, 64), "all").maps
    finer = 2 if options.get("affinity") else 1
    assert maps.shape == (2, 3, 8 * finer, 8 * finer) and maps.isfinite().all()


@pytest.mark.parametrize(
    ("trunk", "layers", "said"),
    [
        ("vgg11", ["conv4_9"], r"model.out_layers=conv4_9 is no layer of this trunk: did you mean conv4_2"),
        ("timm/resnet10t", ["layer9"], r"model.out_layers=layer9 is no stage of this network: did you mean layer4"),
        ("torchvision/resnet18", ["layer3.0.conv1"], r"model.out_layers=layer3.0.conv1 is no layer of this trunk"),
    ],
)
def test_what_is_no_layer_is_said(trunk, layers, said):
    with pytest.raises(UserError, match=said):
        network(trunk, layers)


def test_what_is_no_list_of_layers_is_said():
    for wrong in ("conv5_3", [], ["conv5_3", "conv5_3"], [5]):
        with pytest.raises(UserError, match=r"model.out_layers=.* is not a list of layers, each named once"):
            ModelOptions.read({"out_layers": wrong}, "model")
    options = {"trunk": "vgg11", "width": 1 / 16, "weights": None, "freeze": "none", "out_layers": ["conv4_2"]}
    assert build_classifier(ModelOptions.read(options), ["a"], (64, 64)).trunk.stride == 8

    class Own(nn.Module):
        def forward(self, images):
            return images

    from camexp.models import Trunk

    with pytest.raises(UserError, match="neither a sequence of layers nor a network of timm"):
        take_layers(Trunk(Own(), 3, 1, {}), ["a"])
