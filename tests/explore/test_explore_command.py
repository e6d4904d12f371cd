"""explore.py as its user runs it."""

from __future__ import annotations

import html
import http.client
import json
import logging
import re
import signal
import socket

import pytest

from camexp.explore import page, run
from camexp.explore.listening import own_address
from camexp.explore.settings import Settings, read_settings
from tests.conftest import paint, running
from tests.explore.conftest import CLASSES, picture, save_network

ADDRESS = r"look at +http://127\.0\.0\.1:(\d+)/ "
QUICK = ("gpus=0", "precision=32-true")


@pytest.fixture
def ckpt(tmp_path):
    save_network(tmp_path / "a.ckpt")
    return "ckpt=a.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_image_is_explained_and_ctrl_c_ends_it(ckpt, tmp_path, signum):
    with running("explore.py", ckpt, "port=0", *QUICK, cwd=tmp_path) as process:
        port = int(process.until(ADDRESS)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        page = html.unescape(connection.getresponse().read().decode())
        assert "connect-src 'self'" in page and "default-src 'none'" in page
        connection.request("POST", "/explain", picture(), {"content-type": "image/png"})
        answer = connection.getresponse()
        assert answer.status == 200 and len(json.loads(answer.read())["items"][0]["labels"]) == len(CLASSES)
        done = process.end(signum)  # with a connection that is kept open
    assert done.code == 128 + signum
    assert (
        f"stopped by {'Ctrl-C' if signum == signal.SIGINT else 'SIGTERM'}" in done.out and "Traceback" not in done.out
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]  # nothing is left behind


@pytest.mark.slow
def test_where_others_reach_it_the_address_has_a_token(ckpt, tmp_path):
    with running("explore.py", ckpt, "port=0", "host=0.0.0.0", *QUICK, cwd=tmp_path, fresh=True) as process:
        found = process.until(r"look at +http://([^:]+):(\d+)/\?token=(\S+) ")
        assert found[1] == own_address() and len(found[3]) > 40
        answers = []
        for path in ("/", f"/?token={found[3]}"):
            connection = http.client.HTTPConnection("127.0.0.1", int(found[2]))
            connection.request("GET", path)
            answers.append(connection.getresponse().status)
            connection.close()
        assert answers == [403, 200]
        process.end(signal.SIGTERM)


def sentence(done):
    """What it said instead of a traceback."""
    assert done.code == 1 and "Traceback" not in done.err and done.err.count("error: ") == 1, done.err
    return done.err[done.err.index("error: ") + 7 :].strip()


def test_wrong_input_is_one_sentence_each(script, ckpt, tmp_path):
    (tmp_path / "empty").mkdir()
    paint(tmp_path / "image.png", (1, 2, 3))
    cases = {
        (): "ckpt is not given: add ckpt=…",
        ("ckpt=nowhere.ckpt",): "ckpt=nowhere.ckpt is not a file",
        ("ckpt=[a.ckpt,a.ckpt,a.ckpt]",): r"expected one, or two to compare as \[a.ckpt,b.ckpt\]",
        (ckpt, "cam=gradcm"): "cam=gradcm is not a choice: did you mean gradcam",
        (ckpt, "cam.method=gradcm"): "cam.method=gradcm is not a method: did you mean gradcam",
        (ckpt, "input=empty"): "input=empty is a folder without images",
        (ckpt, "input=image.png"): "input=image.png is not a folder",
        (ckpt, "host=no.such.host.invalid"): "host=no.such.host.invalid is no address",
        (ckpt, "port=70000"): "port=70000 is out of range: expected a whole number from 0 to 65535",
        (ckpt, "limits.megabytes=0"): "limits.megabytes=0 is out of range",
        (ckpt, "colormap=no"): "colormap=no",
        (ckpt, "prot=1"): "prot is not an option: did you mean port",
    }
    for arguments, told in cases.items():
        assert re.search(told, sentence(script("explore.py", *arguments))), arguments


def test_a_port_in_use_is_told_before_anything_is_loaded(script, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = sentence(script("explore.py", "ckpt=nowhere.ckpt", f"port={port}"))
    assert told.startswith(f"port={port} on host=127.0.0.1 cannot be listened to (") and "or port=0 for" in told


def test_without_the_extra_it_says_what_to_install(script, ckpt, monkeypatch):
    find = run.find_spec
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    told = sentence(script("explore.py", ckpt))
    assert told == "explore needs a web server (uvicorn is missing): pip install 'camexp[explore]'"


def test_without_torchcam_the_methods_that_need_none_can_be_chosen(monkeypatch):
    assert page.methods(Settings())[:3] == ["cam", "pc1", "gradcam"]
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    assert page.methods(Settings()) == ["cam", "pc1"]
    assert page.methods(Settings("gradcam")) == ["gradcam", "cam", "pc1"]


def test_help_says_what_it_is(script, caplog):
    with caplog.at_level(logging.INFO):
        done = script("explore.py", "--help")
    assert done.code == 0 and "limits.megapixels=50" in done.out and "writes no file" in done.out


def test_what_was_given_for_one_method_stays_with_it():
    begin = Settings(negatives="clamp_weights", affinity="auto")
    other = read_settings({"method": "pc1"}, begin)
    assert other.negatives == "keep" and other.affinity == "auto"
    assert read_settings({"scales": "0.5,1"}, begin).negatives == "clamp_weights"
