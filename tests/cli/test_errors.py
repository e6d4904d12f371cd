"""Bad input ends in one sentence that names the option, exit code 1, no traceback."""

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import TINY, paint

TRAIN = [
    ("trainer.gpus=7", "trainer.gpus=7 but this machine has"),
    ("trainer.gpus=two", "trainer.gpus=two is not a number of GPUs"),
    ("trainer.gpus=[0,0]", "trainer.gpus=[0, 0] is not"),
    ("trainer.gpu=1", "trainer.gpu is not an option: did you mean trainer.gpus"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0 is out of range"),
    ("trainer.max_epochs=null trainer.max_steps=null", "would never end"),
    ("trainer.check_every_n_steps=0", "trainer.check_every_n_steps=0 is out of range"),
    ("batch_size=0", "batch_size=0 is out of range"),
    ("batch_size=many", "batch_size=many is out of range"),
    ("batch_size=2.5", "batch_size=2.5 is out of range"),
    ("num_workers=-1", "num_workers=-1 is out of range"),
    ("seed=-1", "seed=-1 is out of range"),
    ("precision=8", "precision=8 is not known"),
    ("command=go", "command=go is not known: expected one of train, classes"),
    ("optimizer.lr=0", "optimizer.lr=0 is out of range"),
    ("optimizer=adamm", "optimizer=adamm is not a choice: did you mean adam"),
    ("optimizer.betas=3", "optimizer"),
    ("callbacks=early_stopping callbacks.early_stopping.patient=3", "did you mean callbacks.early_stopping.patience"),
    ("model=vgg18", "model=vgg18 is not a choice: did you mean vgg19"),
    ("model.trunk=resnet", "model.trunk=resnet is not a known trunk"),
    ("model.freeze=conv9_9", "model.freeze=conv9_9"),
    ("model.freeze=trunk", "would freeze random convolutions"),
    ("model.width=0", "model.width=0 is out of range"),
    ("model.head.dropout=1.5", "model.head.dropout=1.5 is out of range"),
    ("model.head.channels=none", "model.head.channels=none is out of range"),
    ("model.weights=absent.pth", "model.weights=absent.pth is not a file"),
    ("transform.size=16", "transform.size=16 is not a size"),
    ("transform.size=[64]", "transform.size=[64] is not a size"),
    ("transform=augment transform.train.flip=2", "transform.train.flip=2"),
    ("split.val_fraction=1.5", "split.val_fraction=1.5 is out of range"),
    ("split.train_per_class=100", "split.train_per_class=100: the class blue has 8 images"),
    ("dataset.root=absent", "dataset.root=absent does not exist"),
    ("dataset.classes=[red,gren]", "dataset.classes=gren is not a class of this model: did you mean green"),
    ("dataset.max_skipped=2", "dataset.max_skipped=2 is out of range"),
    ("dataset.extensions=[exe]", "dataset.extensions=['exe']"),
    ("dataset.check=perhaps", "dataset.check=perhaps is not known: expected true or false"),
    ("inspect.image=absent.png", "inspect.image=absent.png is not a file"),
    ("inspect.image=[]", "inspect.image=[] names no image"),
    ("inspect.label=rde", "inspect.label=rde is not a class of this model: did you mean red"),
    ("inspect.label=3", "inspect.label=3 is not a label of this model: expected 0 to 2"),
    ("inspect.colormap=jett", "colormap=jett is not a matplotlib colour map: did you mean jet"),
    ("inspect.alpha=2", "inspect.alpha=2 is out of range"),
    ("inspect.every_n_steps=-5", "inspect.every_n_steps=-5 is out of range"),
    ("checkpoint.keep=0", "checkpoint.keep=0 is out of range"),
    ("scheduler=cosine scheduler.warmup=3", "scheduler.warmup=3"),
    ("x=[", "x=[ cannot be read as OPTION=VALUE"),
    ("trainer.gpus=-1", "trainer.gpus=-1 is not a number of GPUs"),
    ("+trainer.nonsense=1", "trainer: "),
    ("+trainer.accumulate_grad_batches=4", "trainer.accumulate_grad_batches=4 is not supported"),
    ("+trainer.limit_val_batches=0 dataset.root=absent", "trainer.limit_val_batches=0 is not supported: a validation"),
    ("+trainer.min_epochs=4 trainer.max_steps=2", "trainer.min_epochs=4 is not supported: a run ends after"),
    ("+trainer.fast_dev_run=true", "trainer.fast_dev_run=True is not supported"),
    ("dataset.classes=1.5", "dataset.classes=1.5"),
    ("inspect.label=[1.5]", "inspect.label=1.5 is not a class"),
    ("transform.train=yes", "transform.train=yes is not a transform"),
    ("inspect=no", "inspect=no replaces a whole section"),
    ("model.head.bias=maybe", "model.head.bias=maybe is not known"),
    ("dataset.root=", "dataset.root is not given"),
    ("optimizer.lr=null", "optimizer.lr=None is out of range"),
    ("optimizer=sgd optimizer.lr=1e3 trainer.log_every_n_steps=1", "the loss is"),
    ("logger=null", "logger=null is not a choice: give logger=csv for none, or give one of csv, mlflow"),
    ("callbacks=null", "callbacks=null is not a choice: give callbacks=none for none"),
    ("optimizer=-1", "optimizer=-1 is not a choice: leave it out, or give one of adam, adamw, sgd"),
    ("+experiment=true", "experiment=true is not a choice: leave it out, or give one of accurate"),
    ("inspect=[]", "inspect=[] replaces a whole section: set one of its keys, as inspect.image=…"),
    ("loss=[]", "loss=[] replaces a whole section: set one of its keys, as loss.label_smoothing=…"),
    ("dataset=shapes dataset.size=1", "dataset.size=1 is out of range"),
]

# found before the data set is looked for
BEFORE_THE_DATA = [
    ("scheduler=cosine scheduler.warmup=null", "scheduler.warmup=null is out of range: expected a number"),
    ("scheduler=stairs scheduler.every_epochs=abc", "scheduler.every_epochs=abc is out of range: expected a number"),
    ("scheduler=stairs scheduler.factor=nan", "scheduler.factor=nan is out of range"),
    ("+scheduler._target_=torch.optim.lr_scheduler.StepLR", "scheduler could not be built: TypeError: StepLR.__init__"),
    ("+optimizer.betas=[]", "optimizer.betas=[] is not known: expected a list of 2"),
    ("+optimizer.momentm=1", "optimizer.momentm is no argument of Adam"),
    ("optimizer=sgd optimizer.momentum=abc", "optimizer.momentum=abc is out of range: expected a number"),
    ("optimizer=sgd optimizer.momentum=nan", "optimizer.momentum=nan is out of range: expected a number"),
    ("optimizer=sgd optimizer.momentum=-1", "optimizer could not be built: ValueError: Invalid momentum value: -1"),
    ("optimizer=adamw optimizer.weight_decay=null", "optimizer.weight_decay=null is out of range: expected a number"),
    ("optimizer._target_=nowhere.SGD", "optimizer: its _target_=nowhere.SGD cannot be imported"),
    ("transform=augment transform.train.scale=-1", "transform.train.scale=-1 is not known: expected a list"),
    ("transform=augment transform.train.flip=abc", "transform.train.flip=abc is out of range: expected a number"),
    ("regularise=cutmix regularise.probability=abc", "regularise.probability=abc is out of range: expected a number"),
    ("+callbacks.x=3", "callbacks.x=3 names nothing to build: expected {_target_"),
    ("callbacks=early_stopping callbacks.early_stopping.patience=abc", "patience=abc is out of range: expected a whole"),
    ("callbacks=early_stopping callbacks.early_stopping.monitor=val/acc", "monitor=val/acc is not measured in this run: "
     "did you mean val/accuracy"),
    ("+callbacks.ga={_target_:pytorch_lightning.callbacks.GradientAccumulationScheduler,scheduling:{0:2}}",
     "callbacks.ga=GradientAccumulationScheduler is not supported: a step is a batch here: choose batch_size"),
]  # fmt: skip

PREDICT = [
    ("", "ckpt is not given"),
    ("ckpt={ckpt}", "input is not given"),
    ("ckpt=absent.ckpt input={image}", "ckpt=absent.ckpt is not a file"),
    ("ckpt={image} input={image}", "could not be read as a checkpoint"),
    ("ckpt={ckpt} input=absent.jpg", "input=absent.jpg does not exist"),
    ("ckpt={ckpt} input=*.xyz", "input=*.xyz matches no file"),
    ("ckpt={ckpt} input={image} label=catt", "label=catt is not a class of this model: did you mean cat"),
    ("ckpt={ckpt} input={image} label=9", "label=9 is not a label of this model: expected 0 to 1"),
    ("ckpt={ckpt} input={image} label=[]", "label=[] names no class"),
    ("ckpt={ckpt} input={image} label=top0", "label=top0 is not a class"),
    ("ckpt={ckpt} input={image} resize=8", "resize=8 is not a size"),
    ("ckpt={ckpt} input={image} batch_size=0", "batch_size=0 is out of range"),
    ("ckpt={ckpt} input={image} alpha=-1", "alpha=-1 is out of range"),
    ("ckpt={ckpt} input={image} colormap=no", "colormap=no is not a matplotlib colour map"),
    ("ckpt={ckpt} input={image} gpus=9", "gpus=9 but this machine has"),
    ("ckpt={ckpt} input={image} strict=2", "strict=2 is not known"),
    ("ckpt={ckpt} input={image} labels=cat", "labels is not an option: did you mean label"),
    ("ckpt={ckpt} input=", "input= is empty"),
    ("ckpt={ckpt} input=null", "input is not given: add input=PATH"),
    ("ckpt= input={image}", "ckpt= is empty"),
    ("ckpt={ckpt} input={image} label=null", "label=None is neither"),
    ("ckpt={ckpt} input={image} label=[true]", "label=true is not a class"),
    ("ckpt={ckpt} input={image} mat=false", "mat=False replaces a whole section"),
    ("ckpt={ckpt} input={image} montage.tile=0", "montage.tile=0 is out of range"),
    ("ckpt={ckpt} input={image} overlays=maybe", "overlays=maybe is not known"),
    ("ckpt={ckpt} input={image} gpus=-1", "gpus=-1 is not a number of GPUs"),
    ("ckpt={ckpt} input={image} output={image}/x", "a.png/x cannot be written to (Not a directory)"),
]


def check(done, said):
    assert done.code == 1
    errors = [line for line in done.err.splitlines() if line.strip()]
    assert len(errors) == 1, done.err
    assert errors[0].startswith("error: ")
    assert said in errors[0]
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize(("arguments", "said"), TRAIN, ids=[arguments for arguments, _ in TRAIN])
def test_train(script, colours, arguments, said, tmp_path):
    tiny = [one for one in TINY if one.split("=")[0] not in arguments or "null" in arguments]
    done = script(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *tiny, "hydra.run.dir=run", *arguments.split()
    )
    check(done, said)
    assert "loss" in said or not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("arguments", "said"), BEFORE_THE_DATA, ids=[arguments for arguments, _ in BEFORE_THE_DATA])
def test_before_the_data_set_is_looked_for(script, arguments, said):
    check(script("train.py", "dataset=imagefolder", "dataset.root=absent", *arguments.split()), said)


def test_a_map_s_peak_is_not_monitored_where_there_are_no_masks(script, colours):
    monitor = ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/pointing")
    done = script("train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, *monitor)
    check(done, "callbacks.early_stopping.monitor=val/pointing is not measured in this run")


@pytest.mark.parametrize(("arguments", "said"), PREDICT, ids=[arguments for arguments, _ in PREDICT])
def test_predict(script, tmp_path, arguments, said):
    model = CAMClassifier("vgg11", ["cat", "dog"], Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    paint(tmp_path / "a.png", (9, 9, 9))
    done = script("predict.py", *arguments.format(ckpt="a.ckpt", image="a.png").split())
    check(done, said)


def test_debug_shows_the_traceback(script, colours):
    with pytest.raises(ValueError, match="batch_size=0"):
        script("train.py", "dataset=imagefolder", f"dataset.root={colours}", "batch_size=0", "debug=true")


def test_the_log_tells_where_even_so(script, colours, tmp_path):
    done = script(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "split.val_fraction=2", "hydra.run.dir=run"
    )
    check(done, "split.val_fraction=2")
    log = (tmp_path / "run" / "train.log").read_text()
    assert "Traceback" in log
    assert "error: split.val_fraction=2" in log


def test_two_runs_do_not_mix(script, colours, tmp_path):
    command = (
        "train.py",
        "dataset=imagefolder",
        f"dataset.root={colours}",
        *TINY,
        "trainer.max_steps=1",
        "hydra.run.dir=run",
    )
    assert script(*command).code == 0
    before = (tmp_path / "run" / "metrics.csv").read_text()
    check(script(*command), "hydra.run.dir=")
    assert (tmp_path / "run" / "metrics.csv").read_text() == before
