"""Where the page is: a socket, its address, and who may know it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from camexp.config import ExploreOptions
from camexp.errors import UserError

BACKLOG = 1024  # connections that the system holds until they are taken


@dataclass(frozen=True)
class Listening:
    """A socket that listens.

    Attributes:
        socket: bound; connections already wait in it.
        host: as the user gave it.
        port: the one that was found with ``port=0``.
    """

    socket: socket.socket
    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_local(self.host)

    @property
    def address(self) -> str:
        """For a browser.

        >>> Listening(socket.socket(), "::1", 80).address
        'http://[::1]:80/'
        """
        host = own_address() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def is_local(host: str) -> bool:
    """Whether an address is this machine's own, which no other reaches.

    >>> [is_local(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_address() -> str:
    """This machine's address in its network; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of the range for documentation: it need not answer
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


@contextmanager
def listen(options: ExploreOptions) -> Iterator[Listening]:
    """The socket of ``host`` and ``port``, closed at the end. It is taken before networks are loaded: that takes
    seconds, after which nobody wants to learn that the port is in use.

    Raises:
        UserError: an address that is not this machine's, or a port that another program has.
    """
    host, port = options.host, options.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)  # type: ignore[arg-type]
    except socket.gaierror as error:
        raise UserError(
            f"host={host} is no address ({error.strerror}): expected 127.0.0.1, or one of this machine's to be reached "
            "from others"
        ) from error
    except OSError as error:
        raise UserError(
            f"port={port} on host={host} cannot be listened to ({error.strerror}): give another port, or port=0 for "
            "one that is free"
        ) from error
    with listening:
        yield Listening(listening, host, listening.getsockname()[1])
