"""What the README shows is run."""

import re

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import ROOT, TINY, paint

README = (ROOT / "README.md").read_text()


def test_the_python_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = CAMClassifier("vgg11", ["duck", "llama"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, "best.ckpt")
    paint(tmp_path / "photo.jpg", (10, 20, 30), (90, 70))
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["result"].maps.shape == (1, 2, 4, 4)
    assert names["result"].upsample((480, 640)).shape == (1, 2, 480, 640)


def test_ci_runs_the_readmes_test_command():
    command = 'pip install -e ".[test]" && pytest'
    assert f"```bash\n{command}\n```" in README
    assert command in (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")


COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python train.py")
]


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if "--help" not in command and "sweep.resume" not in command]
)
def test_train_commands_compose(command, script, colours, tmp_path, monkeypatch):
    """Every training command of the README is understood: it gets as far as its data (test_sweeps.py resumes one)."""
    arguments = [
        one
        for one in command.split()[2:]
        if not one.startswith(("dataset.root", "dataset.download", "inspect", "trainer.gpus"))
    ]
    if "dataset=caltech256" in arguments:
        arguments[arguments.index("dataset=caltech256")] = "dataset=imagefolder"
    if not any(one.startswith("dataset=") for one in arguments):
        arguments.append("dataset=imagefolder")
    done = script(
        "train.py",
        *arguments,
        f"dataset.root={colours}",
        *TINY,
        "trainer.max_steps=1",
        "hydra.run.dir=run",
        "hydra.sweep.dir=sweep",
    )
    assert done.code == 0, done.err


def test_every_option_of_the_readmes_table_exists():
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["dataset=imagefolder"])
    for cell in re.findall(r"^\| (`.*?) \|", README, re.MULTILINE):
        for option in re.findall(r"`([a-z_.]+)`", cell):
            node = config
            if option in ("experiment", "launch", "logger", "transform", "split"):
                assert (ROOT / "conf" / option).is_dir()
                continue
            for key in option.split("."):
                assert key in node, option
                node = node[key]


def test_links_and_pictures_are_there():
    links = [link for link in re.findall(r"\]\((.*?)\)", README) if not link.startswith("http")]
    assert len(links) >= 4
    for link in links:
        assert (ROOT / link).is_file(), link


def test_the_backbone_of_contributing(monkeypatch):
    from camexp.models import TRUNKS

    [example] = re.findall(
        r"```python\n(# camexp/models/alexnet.py.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
    )
    monkeypatch.setitem(TRUNKS, "alexnet", None)
    exec(example, {})
    model = CAMClassifier("alexnet", ["duck", "llama"], Preprocessing((224, 224)), head={"channels": 8}).eval()
    result = model.explain(torch.randn(1, 3, 224, 224), "all")
    assert result.maps.shape == (1, 2, 13, 13)
    assert torch.allclose(result.maps.mean((2, 3)), result.logits, atol=1e-5)
    model.freeze("conv4")
    assert model.frozen_layers == ["conv1", "conv2", "conv3"]
