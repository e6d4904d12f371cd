"""Who may ask: nobody but the page that this server gave to a browser of its user.

A page of another site can send requests to this machine's own addresses, and by rebinding a name of its own to
127.0.0.1 even read the answers. So the name that was asked for is checked (``Host``), where the request comes from
(``Origin``, ``Sec-Fetch-Site``), and, where other machines reach the server, that the browser once had its token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Tokens:
    """One-time tokens: each is exchanged once for a cookie that scripts cannot read and other sites cannot send.

    Args:
        port: part of the cookie's name, for cookies are not kept apart by port.
        announce: called with each new token.

    >>> found = []
    >>> tokens = Tokens(80, found.append)
    >>> tokens.exchange("guessed"), tokens.exchange(found[0]) is not None, tokens.exchange(found[0])
    (None, True, None)
    """

    def __init__(self, port: int, announce: Callable[[str], None]):
        self.cookie, self._announce = f"camexp-{port}", announce
        self._session = secrets.token_urlsafe(32)
        self._renew()

    def _renew(self) -> None:
        self._token = secrets.token_urlsafe(32)
        self._announce(self._token)

    def exchange(self, token: str) -> str | None:
        """A cookie's header for the right token, which is no longer one; for another nothing."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        self._renew()
        return f"{self.cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    def admits(self, cookies: str) -> bool:
        """Whether a browser's cookies hold ours."""
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._session.encode())


def _host(origin: str) -> str | None:
    """The host and port of an ``Origin``, in lower case; ``None``: it is no address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


class Guard:
    """ASGI middleware that answers 403 to whom the application is not for, and adds the safe headers.

    Args:
        app: what is guarded.
        local: only this machine's own addresses and names are ours; else any address, which no rebinding can fake.
        names: host names that are ours besides.
        tokens: of a server that other machines reach.
    """

    def __init__(self, app: ASGIApp, local: bool, names: Iterable[str] = (), tokens: Tokens | None = None):
        self.app, self.local, self.tokens = app, local, tokens
        self.names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no socket of another kind is ever opened here
            return

        cookie: str | None = None

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400 and scope["method"] == "POST":
                    headers["connection"] = "close"  # what is left of a refused upload is not even read
                if cookie is not None:
                    headers["set-cookie"] = cookie
            await send(message)

        headers = Headers(scope=scope)
        problem = self._foreign(scope, headers)
        if problem is None and self.tokens is not None and not self.tokens.admits(headers.get("cookie", "")):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            asks = scope["method"] == "GET" and scope["path"] == "/"  # HEAD: a mail program that looks at links
            cookie = self.tokens.exchange(given) if asks and given else None
            if cookie is None:
                problem = (
                    "this token was used already, or is none: the terminal shows the next one"
                    if given
                    else "open the address that the terminal shows, with its token"
                )
        if problem is not None:
            await JSONResponse({"error": problem}, 403)(scope, receive, send_safely)
            return
        await self.app(scope, receive, send_safely)

    def _foreign(self, scope: Scope, headers: Headers) -> str | None:
        """Why a request is not our page's; ``None``: it is, or a person's who typed the address."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return f"this server is not called {', '.join(hosts)}: open the address that the terminal shows"
        origins = headers.getlist("origin")
        if any(_host(origin) != hosts[0].lower() for origin in origins):
            return "another site's page may not ask this server"
        site = headers.get("sec-fetch-site", "none")
        opens = scope["path"] == "/" and scope["method"] == "GET" and headers.get("sec-fetch-dest") == "document"
        if site not in ("none", "same-origin") and not opens:
            return "another site's page may not ask this server"
        return None

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback if self.local else True


def own_names(host: str) -> set[str]:
    """The names under which this machine may be asked for.

    >>> "example.org" in own_names("example.org")
    True
    """
    return {host, socket.gethostname()}
