import pytest
import torch
import torchvision
from torchvision.models.vgg import cfgs, make_layers

from camexp import UserError
from camexp.models import TRUNKS, build_trunk
from camexp.models.trunks import freeze


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_trunk_is_torchvisions_without_its_last_pool(name):
    torch.manual_seed(0)
    reference = getattr(torchvision.models, name)(weights=None).features[:-1].eval()
    trunk = build_trunk(name).eval()
    trunk.features.load_state_dict(reference.state_dict())
    images = torch.rand(1, 3, 64, 48)
    with torch.no_grad():
        features = trunk(images)
        torch.testing.assert_close(features, reference(images), rtol=0, atol=1e-5 * float(features.max()))
    assert features.shape == (1, 512, 4, 3)
    assert (trunk.out_channels, trunk.stride) == (512, 16)


@pytest.mark.parametrize(("name", "published"), [("vgg11", "A"), ("vgg13_bn", "B"), ("vgg16", "D"), ("vgg19_bn", "E")])
def test_layers_are_torchvisions_number_for_number(name, published):
    config = [value if value == "M" else value // 16 for value in cfgs[published][:-1]]
    torch.manual_seed(0)
    reference = make_layers(config, batch_norm=name.endswith("_bn"))
    for module in reference:
        if isinstance(module, torch.nn.Conv2d):  # as torchvision's VGG begins
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            torch.nn.init.zeros_(module.bias)
    torch.manual_seed(0)
    features = build_trunk(name, 1 / 16).features
    assert str(features).replace("Conv3x3(", "Conv2d(") == str(reference)
    ours, theirs = features.state_dict(), reference.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("name", "layers"), [("vgg11", 8), ("vgg13", 10), ("vgg16", 13), ("vgg19_bn", 16)])
def test_layers_are_named_as_in_the_paper(name, layers):
    trunk = build_trunk(name, 1 / 16)
    assert len(trunk.layers) == layers
    assert next(iter(trunk.layers)) == "conv1_1"
    assert all(len(modules) == (2 if name.endswith("bn") else 1) for modules in trunk.layers.values())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (224, 224), (97, 300)])
def test_any_size_from_32_pixels(height, width):
    features = build_trunk("vgg11", 1 / 16)(torch.zeros(1, 3, height, width))
    assert features.shape[-2:] == (height // 16, width // 16)


def test_an_image_below_32_pixels_is_refused():
    with pytest.raises(UserError, match="31×40 pixels is too small"):
        build_trunk("vgg11", 1 / 16)(torch.zeros(1, 3, 40, 31))


def test_width_narrows_every_convolution():
    assert build_trunk("vgg19", 0.125).out_channels == 64
    with pytest.raises(UserError, match=r"model\.width=0"):
        build_trunk("vgg19", 0)


@pytest.mark.parametrize(("what", "trained"), [("none", 16), ("trunk", 0), ("conv5_1", 4), ("conv1_1", 16)])
def test_freezing_leaves_the_layers_from_the_named_one_on(what, trained):
    trunk = build_trunk("vgg19_bn", 1 / 16)
    freeze(trunk, what)
    layers = [
        name for name, modules in trunk.layers.items() if all(p.requires_grad for m in modules for p in m.parameters())
    ]
    assert len(layers) == trained
    assert layers == list(trunk.layers)[16 - trained :]


def test_freezing_at_an_unknown_layer_names_the_nearest():
    with pytest.raises(UserError, match=r"model\.freeze=conv6_1 .* did you mean conv"):
        freeze(build_trunk("vgg11", 1 / 16), "conv6_1")
