"""What a stranger's checkpoint says of its network is looked at before a network is built of it."""

import pytest
import torch

from camexp import UserError
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata, load


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("size", [100_000, 100_000], "preprocessing.size.0: Input should be less than or equal to 8192"),
        ("size", [224], "preprocessing.size: List should have at least 2 items"),
        ("std", [0.0, 0.0, 0.0], "preprocessing.std: Value error, expected numbers above 0"),
        ("std", [float("nan")] * 3, "preprocessing.std: Value error, expected finite numbers"),
        ("mean", [0.5], "preprocessing.mean: List should have at least 3 items"),
        ("classes", [1, 2], "classes.0: Input should be a valid string"),
        ("classes", None, "classes: Input should be a valid list"),
    ],
)
def test_what_is_absurd_is_one_sentence(tmp_path, where, value, said):
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8})
    about = checkpoint_metadata(model, {})
    (about if where == "classes" else about["preprocessing"])[where] = value
    state = {f"classifier.{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save({"camexp": about, "state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(UserError) as raised:
        load(tmp_path / "a.ckpt", "cpu")
    assert said in str(raised.value) and "does not fit the network it describes" in str(raised.value)
