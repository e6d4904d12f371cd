"""Weights from every kind of file, against the published network or a plain version of the original's."""

import io
import pickle
import urllib.error
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from camexp import UserError
from camexp.models import Preprocessing, build_trunk, load_weights
from camexp.models.weights import CAFFE, TORCHVISION

WIDTH = 1 / 16


def state_of(trunk, prefix="features."):
    return {prefix + key: value for key, value in trunk.features.state_dict().items()}


def tensorflow_layers(trunk, seed=0):
    """Random weights in the TensorFlow layout: {name: [HWIO kernel, bias]}."""
    rng = np.random.default_rng(seed)
    return {
        name: [rng.normal(0, 0.2, (3, 3, conv.in_channels, conv.out_channels)).astype(np.float32),
               rng.normal(0, 0.1, conv.out_channels).astype(np.float32)]
        for name, (conv,) in trunk.layers.items()
    }  # fmt: skip


def original_network(layers, image):
    """The TensorFlow original in float64: BGR, 0–255, means subtracted, named convolutions, pools between blocks."""
    bgr = np.asarray(image, dtype=np.float64)[..., ::-1] - np.array([103.939, 116.779, 123.68])
    x = torch.from_numpy(bgr.copy()).permute(2, 0, 1)[None]
    block = "1"
    for name, (kernel, bias) in layers.items():
        if name[4] != block:
            x, block = F.max_pool2d(x, 2), name[4]
        weight = torch.from_numpy(kernel).permute(3, 2, 0, 1).double()
        x = F.relu(F.conv2d(x, weight, torch.from_numpy(bias).double(), padding=1))
    return x


def test_tensorflow_weights_give_the_originals_features(tmp_path):
    trunk = build_trunk("vgg11", WIDTH)
    layers = tensorflow_layers(trunk)
    layers["fc6"] = [np.zeros((4, 4), np.float32), np.zeros(4, np.float32)]  # as the shared file has it
    np.save(tmp_path / "vgg.npy", np.array(layers, dtype=object), allow_pickle=True)
    mean, std = load_weights(trunk, str(tmp_path / "vgg.npy"), "vgg11")
    del layers["fc6"]

    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    with torch.no_grad():
        ours = trunk(Preprocessing(None, mean, std)(image)[None]).double()
    reference = original_network(layers, image)
    assert (ours - reference).abs().max() < 1e-5 * reference.abs().max()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_of_any_protocol_is_read(tmp_path, protocol):
    trunk = build_trunk("vgg11", WIDTH)
    layers = tensorflow_layers(trunk)
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|O", "fortran_order": False, "shape": ()})
    pickle.dump(np.array(layers, dtype=object), content, protocol=protocol)
    path = tmp_path / "vgg.npy"
    path.write_bytes(content.getvalue())
    assert load_weights(trunk, str(path), "vgg11") == CAFFE
    kernel = layers["conv2_1"][0].transpose(3, 2, 0, 1)
    assert np.array_equal(trunk.layers["conv2_1"][0].weight.detach().numpy(), kernel)


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_torchvision_weights(tmp_path, ending, dtype):
    source, trunk = build_trunk("vgg13_bn", WIDTH), build_trunk("vgg13_bn", WIDTH)
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state_of(source).items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    path = tmp_path / f"weights{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    assert load_weights(trunk, str(path), "vgg13_bn") == TORCHVISION
    for key, value in trunk.features.state_dict().items():
        assert torch.equal(value, state[f"features.{key}"].to(value.dtype))
        assert value.dtype in (torch.float32, torch.int64)


def problem(tmp_path, change, name="vgg11"):
    trunk = build_trunk(name, WIDTH)
    state = state_of(trunk)
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        load_weights(trunk, str(tmp_path / "w.pth"), name)
    return str(error.value)


def test_missing_surplus_misshaped_and_nan_tensors_are_named(tmp_path):
    said = problem(tmp_path, lambda state: state.pop("features.3.bias"))
    assert "missing: features.3.bias (conv2_1 bias)" in said
    said = problem(tmp_path, lambda state: state.update({"features.99.weight": torch.zeros(1)}))
    assert "surplus: 99.weight" in said
    said = problem(tmp_path, lambda state: state.update({"features.0.weight": torch.zeros(4, 1, 3, 3)}))
    assert "features.0.weight (conv1_1 weight) is (4, 1, 3, 3) instead of (4, 3, 3, 3)" in said
    said = problem(tmp_path, lambda state: state["features.0.bias"].fill_(float("nan")))
    assert "not finite: features.0.bias" in said


def test_another_networks_file_is_refused_in_one_sentence(tmp_path):
    torch.save(state_of(build_trunk("vgg19", WIDTH)), tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not fit this trunk.*choose the model="):
        load_weights(build_trunk("vgg11", WIDTH), str(tmp_path / "w.pth"), "vgg11")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.pth", None, "is not a file"),
        ("a.txt", b"x", "has the ending .txt"),
        ("a.npy", b"garbage", "is not a dictionary of NumPy arrays"),
        ("a.pth", b"garbage", "is not a plain file of tensors"),
        ("a.safetensors", b"garbage", "is not a sound safetensors file"),
        ("empty.npy", b"", "is not a dictionary of NumPy arrays"),
        ("empty.safetensors", b"", "is not a sound safetensors file"),
    ],
)
def test_files_that_are_no_weights(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_weights(build_trunk("vgg11", WIDTH), str(tmp_path / name), "vgg11")


class Payload:
    """Unpickling this would write a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("kind", ["npy", "npy-nested", "pt", "pth"])
def test_a_file_cannot_execute_what_it_brings(tmp_path, kind):
    marker, path = tmp_path / "executed", tmp_path / f"evil.{kind.split('-')[0]}"
    if kind.startswith("npy"):
        content = {"conv1_1": Payload(marker)} if kind == "npy-nested" else Payload(marker)
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    else:
        torch.save({"features.0.weight": Payload(marker)}, path)
    with pytest.raises(UserError):
        load_weights(build_trunk("vgg11", WIDTH), str(path), "vgg11")
    assert not marker.exists()
    assert kind.startswith("npy") or zipfile.is_zipfile(path)  # the attack was a real one


def test_without_network_the_sentence_says_which_file_to_bring(monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"bring the file vgg19-dcbb9e9d\.pth and put it into .*checkpoints"):
        load_weights(build_trunk("vgg19"), "imagenet", "vgg19")


def test_the_shared_vgg16_file_loads_as_it_is(vgg16_weights):
    trunk = build_trunk("vgg16")
    load_weights(trunk, str(vgg16_weights), "vgg16")
    assert trunk.layers["conv1_1"][0].weight.dtype == torch.float32
    assert trunk.layers["conv5_3"][0].weight.abs().mean() > 1e-3


@pytest.mark.parametrize("content", ["payload", "garbage"])
def test_a_file_in_the_download_cache_cannot_execute_either(tmp_path, monkeypatch, content):
    marker, kept = tmp_path / "executed", tmp_path / "checkpoints" / "vgg11-8a719046.pth"
    kept.parent.mkdir()
    torch.save({"features.0.weight": Payload(marker)}, kept) if content == "payload" else kept.write_bytes(b"garbage")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="is not torchvision's file .*: remove it"):
        load_weights(build_trunk("vgg11"), "imagenet", "vgg11")
    assert not marker.exists()


def test_a_network_without_published_weights_says_so():
    with pytest.raises(UserError, match=r"torchvision has no such weights of tinycnn: give model.weights=PATH"):
        load_weights(build_trunk("vgg11", 1 / 16), "imagenet", "tinycnn")
