"""Who may ask: other names, other sites' pages, browsers without the token."""

from __future__ import annotations

import asyncio
import socket

import pytest

from camexp.explore.guard import Guard
from tests.explore.conftest import picture

EVIL = ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.7",
        "127.0.0.1@evil.example", "localhost.", "[::1", "", "0.0.0.0"]  # fmt: skip


@pytest.mark.parametrize("host", EVIL)
def test_a_name_that_was_bound_to_this_machine_is_not_ours(server, host):
    """DNS rebinding: the browser asks 127.0.0.1, and says whom it means."""
    answer = server.ask("GET", "/state", host=host or " ")
    assert answer.status == 403 and "not called" in answer.json["error"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "127.0.0.1", "localhost:8000"]
)
def test_our_own_names_are(server, host):
    assert server.ask("GET", "/state", host=host.format(server.port)).status == 200


def test_without_or_with_two_names_nothing_is_answered(server):
    for hosts in ("", "Host: localhost\r\nHost: localhost\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(f"GET /state HTTP/1.0\r\n{hosts}\r\n".encode())
            assert raw.recv(100).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:1",
        "http://127.0.0.1",
        "file://",
        "",
        "http://[",
        "http://[::1]x:y",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_sites_page_may_not_ask(server, origin, method):
    path, body = ("/state", None) if method == "GET" else ("/explain", picture())
    answer = server.ask(method, path, body, {"origin": origin, "content-type": "application/octet-stream"})
    assert (answer.status, answer.json["error"]) == (403, "another site's page may not ask this server")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain"])
def test_what_a_form_can_send_is_not_taken(server, kind):
    """Even without an Origin, as an old browser would send it."""
    answer = server.ask("POST", "/explain", picture(), {"content-type": kind})
    assert answer.status == 415 and kind in answer.json["error"]


def test_our_own_page_may(server):
    headers = {"origin": f"http://127.0.0.1:{server.port}", "sec-fetch-site": "same-origin"}
    assert server.explain(picture(), **headers).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_can_link_to_ours_and_embed_nothing(server, site):
    """A page on another port of this machine counts as the same site."""
    for path, target in (("/state", "empty"), ("/image/0", "image"), ("/", "iframe"), ("/", "script")):
        assert server.ask("GET", path, headers={"sec-fetch-site": site, "sec-fetch-dest": target}).status == 403
    page = server.ask("GET", "/", headers={"sec-fetch-site": site, "sec-fetch-dest": "document"})
    assert page.status == 200
    assert (page.headers["x-frame-options"], page.headers["cross-origin-resource-policy"]) == ("DENY", "same-origin")
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["cache-control"] == "no-store"


def test_the_token_opens_one_browser(serve, ckpt):
    server = serve(with_tokens=True, ckpt=ckpt)
    [token] = server.tokens
    for path in ("/", "/state", "/image/0", "/?token=", "/?token=guessed", f"/state?token={token}"):
        assert server.ask("GET", path).status == 403, path
    assert server.ask("POST", "/explain", picture()).status == 403
    assert server.ask("HEAD", f"/?token={token}").status == 403 and server.tokens == [token]

    page = server.ask("GET", f"/?token={token}")
    cookie = page.headers["set-cookie"]
    assert page.status == 200 and {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    again = server.ask("GET", f"/?token={token}")
    assert again.status == 403 and "used already" in again.json["error"] and "set-cookie" not in again.headers

    name, _, value = cookie.partition(";")[0].partition("=")
    assert str(server.port) in name and token not in cookie
    assert server.ask("GET", "/state", headers={"cookie": f"other=1; {name}={value}"}).status == 200
    assert server.explain(picture(), cookie=f"{name}={value}").status == 200
    for wrong in (f"{name}={value[:-1]}", f"{name}=", f"camexp-1={value}", "a;b=\x07"):
        assert server.ask("GET", "/state", headers={"cookie": wrong}).status == 403
    assert len(server.tokens) == 2  # for another browser
    assert server.ask("GET", f"/?token={server.tokens[1]}").status == 200


def test_where_others_reach_it_addresses_are_ours_and_foreign_names_are_not(serve, ckpt):
    server = serve(with_tokens=True, ckpt=ckpt)
    told = {host: server.ask("GET", "/", host=host).json["error"] for host in ("192.168.1.7:80", "evil.example")}
    assert "with its token" in told["192.168.1.7:80"] and "not called" in told["evil.example"]


def test_no_other_protocol_is_spoken():
    """A WebSocket has no same-origin rule at all."""

    async def never(*_):
        raise AssertionError("the application was reached")

    asyncio.run(Guard(never, local=True)({"type": "websocket", "headers": []}, never, never))
