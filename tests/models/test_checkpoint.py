import pytest
import torch

import camexp
from camexp import UserError
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata


def network(classes=("duck", "llama")):
    torch.manual_seed(0)
    preprocessing = Preprocessing((48, 32), (0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    return CAMClassifier("vgg11", classes, preprocessing, width=1 / 16, head={"channels": 8}).eval()


def write(path, model, **changes):
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {"seed": 0}), "state_dict": state} | changes, path)
    return path


def test_a_checkpoint_is_all_it_takes(tmp_path):
    model = network()
    loaded = camexp.load(write(tmp_path / "a.ckpt", model), device="cpu")
    assert loaded.classes == model.classes
    assert loaded.preprocessing.to_dict() == model.preprocessing.to_dict()
    assert not loaded.training
    images = torch.randn(2, 3, 48, 32)
    assert torch.allclose(loaded(images), model(images), atol=1e-6)


def test_bad_checkpoints_end_in_one_sentence(tmp_path):
    good = write(tmp_path / "good.ckpt", network()).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.ckpt").write_text("hello")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    write(tmp_path / "mixed.ckpt", network(), camexp=checkpoint_metadata(network(("a", "b", "c")), {}))
    for name in ("cut", "text", "empty", "other", "list", "mixed", "absent"):
        with pytest.raises(UserError, match=rf"^ckpt=.*{name}\.ckpt"):
            camexp.load(tmp_path / f"{name}.ckpt")


def test_a_checkpoint_cannot_execute_what_it_brings(tmp_path):
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    write(tmp_path / "evil.ckpt", network(), extra=Payload())
    with pytest.raises(UserError, match="could not be read as a checkpoint"):
        camexp.load(tmp_path / "evil.ckpt")
    assert not marker.exists()
