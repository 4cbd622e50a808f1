"""Where a runtime is.

Enters: a path, an address, or nothing. Leaves: a `Place`, or `ValueError` with what is wrong.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pixell_runtime.client.errors import PeerRefused

#: pid, uid and gid of whoever listens at a socket (`struct ucred`).
_CREDENTIALS = struct.Struct("iII")


@dataclass(frozen=True)
class Place:
    """The local socket (`path`), or a host and port."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    #: What stands before every route; of addresses with a path.
    prefix: str = ""

    @property
    def is_local(self) -> bool:
        """Whether this is a socket on this machine."""
        return bool(self.path)

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        if self.is_local:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.is_local:
            return self.path
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def place(given: str | os.PathLike[str] | None, environment: Mapping[str, str] = os.environ) -> Place:
    """What was given: a path, `unix:/path`, `https://…`, or `http://…` on this machine; nothing: the local socket
    where `par serve` makes it (`PAR_SOCKET`, else `par.sock` in `PAR_DATA_DIR` or its default)."""
    if given is None:
        return Place(path=_default(environment))
    text = os.fspath(given)
    if text.startswith("unix:"):
        text = text[len("unix:") :]
        text = text[2:] if text.startswith("///") else text
    elif "://" in text:
        return _address(text)
    if not text:
        raise ValueError("the path of the local socket is empty")
    return Place(path=os.path.abspath(text))


def _default(environment: Mapping[str, str]) -> str:
    socket_path, data = environment.get("PAR_SOCKET"), environment.get("PAR_DATA_DIR")
    if socket_path:
        return os.path.abspath(socket_path)
    if data:
        return os.path.abspath(os.path.join(data, "par.sock"))
    state, home = environment.get("XDG_STATE_HOME", ""), environment.get("HOME", "")
    if os.path.isabs(state):
        directory = Path(state, "par")
    elif os.path.isabs(home):
        directory = Path(home, ".local", "state", "par")
    else:
        directory = Path("/var/lib/par")
    return str(directory / "par.sock")


def _address(text: str) -> Place:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text!r}: neither https://, nor http:// on this machine, nor the path of a socket")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address has no user, query or fragment: a token is given as token=")
    host, tls = parts.hostname or "", parts.scheme == "https"
    if not host:
        raise ValueError(f"{text!r} names no host")
    if not tls and not _is_loopback(host):
        raise ValueError(f"{text!r}: http:// would show everything to the network; https:// does not")
    port = parts.port if parts.port is not None else (443 if tls else 80)
    return Place(host=host, port=port, tls=tls, prefix=parts.path.rstrip("/"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_peer(connection: socket.socket, path: str) -> None:
    """Refuses a local socket at which somebody listens who is neither root nor we, in our own group: whoever can make
    a file at its path would be told everything."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        raise PeerRefused(f"{path}: this system does not tell who listens at a socket")
    _, user, group = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    if user != 0 and (user, group) != (os.geteuid(), os.getegid()):
        raise PeerRefused(f"{path} belongs to user {user} of group {group}, who are neither root nor we")
