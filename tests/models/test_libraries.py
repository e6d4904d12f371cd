"""Networks of torchvision and timm as trunks, and published classifiers as CAM networks."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from camexp.config import ModelOptions
from camexp.errors import UserError
from camexp.methods import TorchCAM
from camexp.models import CAMClassifier, Preprocessing, build_classifier, build_trunk, load_weights, pretrained
from camexp.models.pretrained import class_names

timm = pytest.importorskip("timm")
SMALL = ("torchvision/resnet18", "torchvision/densenet121", "torchvision/mobilenet_v2", "torchvision/shufflenet_v2_x0_5",
         "timm/resnet10t", "timm/efficientnet_lite0", "timm/convnext_atto", "timm/densenet121")  # fmt: skip


def build(trunk: str, **changes) -> CAMClassifier:
    options = {"trunk": trunk, "width": 1.0, "weights": None, "freeze": "none", "head": "gap"}
    torch.manual_seed(0)
    return build_classifier(ModelOptions.read(options | changes), ["duck", "llama", "cat"], (64, 64)).eval()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("head", ["gap", {"channels": 16, "init_std": 0.1}])
def test_the_mean_of_a_map_is_the_logit(name, head):
    model = build(name, head=head)
    result = model.explain(torch.randn(2, 3, 64, 96), "all")
    bias = 0 if model.head.linear.bias is None else model.head.linear.bias
    assert torch.allclose(
        result.maps.mean((2, 3)) + bias, result.logits, atol=1e-4 * float(result.logits.abs().max() + 1)
    )


@pytest.mark.parametrize("name", [*SMALL, "torchvision/convnext_tiny", "timm/mobilenetv3_small_050"])
def test_every_parameter_that_trains_is_used(name):
    """Or DistributedDataParallel waits for its gradient."""
    model = build(name)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert [
        key for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ] == []


def test_what_is_not_used_is_left_out_and_forgotten(tmp_path):
    """The norm of convnext's head, which checkpoints of before hold."""
    trunk = build_trunk("timm/convnext_atto")
    images = torch.randn(1, 3, 64, 64)
    whole = timm.create_model("convnext_atto").eval()
    cut = timm.create_model("convnext_atto", num_classes=0, global_pool="").state_dict()
    gone = sorted(cut.keys() - trunk.features.state_dict().keys())
    assert gone == ["head.norm.bias", "head.norm.weight"]
    trunk.features.load_state_dict({**trunk.features.state_dict(), **{key: cut[key] for key in gone}})
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    load_weights(trunk, str(tmp_path / "w.safetensors"), "timm/convnext_atto")
    with torch.no_grad():
        assert torch.equal(trunk.eval()(images), whole.forward_features(images))
    with pytest.raises(RuntimeError, match="Unexpected"):
        trunk.features.load_state_dict({**trunk.features.state_dict(), "stem.9.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    "name", ["torchvision/resnet18", "torchvision/densenet121", "timm/resnet10t", "timm/densenet121"]
)
def test_a_published_classifier_keeps_its_weights(name, tmp_path):
    torch.manual_seed(0)
    library, inner = name.split("/")
    if library == "timm":
        network = timm.create_model(inner)
    else:
        from torchvision.models import get_model

        network = get_model(inner, weights=None)
    file = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), file)
    model = pretrained(name, file)
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        assert torch.allclose(model(images), network.eval()(images), atol=1e-4)
    assert model.classes[207] == "golden retriever"
    ours = model.explain(images, [[207], [3]])
    theirs = TorchCAM("gradcam")(model, images, [[207], [3]]).maps
    for a, b in zip(ours.maps.clamp(min=0)[:, 0], theirs[:, 0], strict=True):
        if float(a.max()) > 0:
            assert torch.allclose(a / a.max(), b / b.max(), atol=1e-4)


@pytest.mark.parametrize("name", ["timm/convnext_atto", "timm/mobilenetv3_small_050", "torchvision/vgg11"])
def test_a_classifier_of_another_kind_is_refused(name, tmp_path):
    library, inner = name.split("/")
    from torchvision.models import get_model

    network = timm.create_model(inner) if library == "timm" else get_model(inner, weights=None)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="train a head on it"):
        pretrained(name, tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet10t"])
def test_whole_published_files_load_into_trunks(name, tmp_path):
    library, inner = name.split("/")
    from torchvision.models import get_model

    network = timm.create_model(inner) if library == "timm" else get_model(inner, weights=None)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    trunk = build_trunk(name)
    load_weights(trunk, str(tmp_path / "w.safetensors"), name)
    own = trunk.features.state_dict()
    assert all(torch.equal(own[key], network.state_dict()[key]) for key in own)


@pytest.mark.parametrize("name", ["torchvision/resnet50", "timm/resnet10t"])
def test_output_stride_makes_finer_maps(name):
    sizes = [build_trunk(name, 1, stride).eval()(torch.zeros(1, 3, 64, 64)).shape[-1] for stride in (None, 16, 8)]
    assert sizes == [2, 4, 8]


def test_the_normalisation_is_the_libraries_own(tmp_path):
    trunk = build_trunk("timm/efficientnet_lite0")
    assert trunk.normalisation == (tuple(timm.create_model("efficientnet_lite0").pretrained_cfg["mean"]),
                                   tuple(timm.create_model("efficientnet_lite0").pretrained_cfg["std"]))  # fmt: skip


def test_layers_freeze_by_their_names():
    model = build("torchvision/resnet18")
    model.freeze("layer4")
    assert model.frozen_layers == ["conv1", "bn1", "layer1", "layer2", "layer3"]
    assert {name.split(".")[2] for name, p in model.named_parameters() if p.requires_grad and "trunk" in name} == {
        "layer4"
    }
    assert not model.train().trunk.features.layer1.training and model.trunk.features.layer4.training


@pytest.mark.parametrize(
    ("name", "stride", "said"),
    [
        ("timm/resnet5", None, "model.name=resnet5 is not a network of timm"),
        ("torchvision/resnet5", None, "model.name=resnet5 is not a network of torchvision"),
        ("timm/mixer_s32_224", None, "take a CNN or a plain ViT"),
        ("timm/swin_tiny_patch4_window7_224", None, "take a CNN or a plain ViT"),
        ("timm/vit_tiny_patch16_224", 8, "model.output_stride=8: vit_tiny_patch16_224 has the stride of its patches"),
        ("timm/densenet121", 16, "model.output_stride=16 is not possible"),
        ("torchvision/vgg11", 16, "model.output_stride=16 is not possible"),
        ("torchvision/resnet50", 5, "model.output_stride=5 is out of range"),
        ("vgg16", 16, "model.output_stride=16: vgg16 has 16 and no other"),
    ],
)
def test_what_is_not_possible_is_said(name, stride, said):
    with pytest.raises(UserError, match=said):
        build_trunk(name, 1, stride)


def test_names_occur_once():
    assert len(set(class_names(1000))) == 1000 and class_names(3) == ["0", "1", "2"]


def test_a_checkpoint_remembers_its_backbone(script, colours, tmp_path):
    options = ["dataset=imagefolder", f"dataset.root={colours}", "model=timm", "model.name=resnet10t", "model.head=gap",
               "model.weights=null", "model.freeze=none", "transform.size=32", "batch_size=8", "num_workers=0",
               "trainer.max_epochs=1", "trainer.gpus=0", "model.output_stride=16", "hydra.run.dir=run"]  # fmt: skip
    done = script("train.py", *options)
    assert done.code == 0, done.err
    import camexp

    model = camexp.load("run/checkpoints/best.ckpt", "cpu")
    assert isinstance(model.preprocessing, Preprocessing) and model.trunk.stride == 16
    assert model.explain(torch.zeros(1, 3, 64, 64)).maps.shape == (1, 1, 4, 4)
    done = script("train.py", *options[:-1], "hydra.run.dir=run2", "model.head=gapp")
    assert done.code == 1 and "model.head=gapp is not a head" in done.err
