"""A small HTTP/1.1 client for servers on this machine; it speaks to no other."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ANSWER_SECONDS = 10.0
_CONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Target:
    """An address on this machine that serves HTTP: loopback, or a container on a local bridge."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not _on_this_machine(ipaddress.IPv4Address(self.host)):
            raise ValueError(f"{self.host} is neither loopback nor a container of this machine")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _on_this_machine(address: ipaddress.IPv4Address) -> bool:
    if address.is_loopback:
        return True
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, network, _, _, _, _, _, mask, *_ = line.split()
        bridge = interface == "docker0" or interface.startswith("br-")
        if bridge and int(address) & _from_route(mask) == _from_route(network):
            return True
    return False


def _from_route(number: str) -> int:
    return int.from_bytes(bytes.fromhex(number), "little")


@dataclass(frozen=True)
class Answer:
    """One response; `close` says that the server wants no further request on the connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    close: bool


def get(target: Target, path: str) -> Answer:
    """Ask once, on a connection of its own."""
    request = f"GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    return asyncio.run(_ask(target, [request.encode()]))


def post_slowly(target: Target, path: str, *, seconds: float, in_flight: threading.Event) -> Answer:
    """Ask once, with a body that takes its time: a request in flight for so long at least."""
    pieces = int(seconds * 5)
    head = f"POST {path} HTTP/1.1\r\nHost: {target}\r\nContent-Type: text/plain\r\n"
    head += f"Content-Length: {pieces}\r\nConnection: close\r\n\r\n"
    return asyncio.run(_ask(target, [head.encode(), *[b"x"] * pieces], 0.2, in_flight))


async def _ask(
    target: Target,
    pieces: list[bytes],
    pause: float = 0,
    in_flight: threading.Event | None = None,
) -> Answer:
    connection = await connect(target)
    try:
        async with asyncio.timeout(len(pieces) * pause + ANSWER_SECONDS):
            for piece in pieces[:-1]:
                await asyncio.get_running_loop().sock_sendall(connection, piece)
                await asyncio.sleep(pause)
                if in_flight:
                    in_flight.set()
            return await exchange(connection, pieces[-1])
    finally:
        connection.close()


async def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Send a request and read its answer."""
    reader = _Reader(connection)
    try:
        await asyncio.get_running_loop().sock_sendall(connection, request)
        head = (await reader.until(b"\r\n\r\n")).decode("latin-1")
    except ConnectionError as problem:
        if not reader.begun:
            raise UnansweredError from problem
        raise
    status_line, *lines = head.rstrip("\r\n").split("\r\n")
    protocol, status, *_ = status_line.split(" ")
    if protocol != "HTTP/1.1":
        raise ValueError(f"not HTTP/1.1: {status_line}")
    headers = {
        name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)
    }
    close = "close" in headers.get("connection", "").lower()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await reader.chunks()
    elif "content-length" in headers:
        body = await reader.exactly(int(headers["content-length"]))
    else:
        raise ValueError("the answer's length is not given")
    return Answer(int(status), headers, body, close)


@dataclass
class _Reader:
    connection: socket.socket
    _bytes: bytes = b""

    @property
    def begun(self) -> bool:
        """Whether a part of an answer is here that nobody has taken yet."""
        return bool(self._bytes)

    async def until(self, end: bytes) -> bytes:
        while end not in self._bytes:
            await self._more()
        found, _, self._bytes = self._bytes.partition(end)
        return found + end

    async def exactly(self, count: int) -> bytes:
        while len(self._bytes) < count:
            await self._more()
        found, self._bytes = self._bytes[:count], self._bytes[count:]
        return found

    async def chunks(self) -> bytes:
        body = b""
        while size := int((await self.until(b"\r\n")).split(b";")[0], 16):
            body += (await self.exactly(size + 2))[:-2]
        await self.until(b"\r\n")
        return body

    async def _more(self) -> None:
        received = await asyncio.get_running_loop().sock_recv(self.connection, 65536)
        if not received:
            raise ConnectionResetError("closed before the answer was whole")
        self._bytes += received


class UnansweredError(ConnectionResetError):
    """The connection ended before the first byte of an answer."""


class RefusedError(ConnectionRefusedError):
    """No connection: nothing listens there, or nothing is there."""


async def connect(target: Target) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (target.host, target.port))
    except OSError as problem:  # TimeoutError is one
        connection.close()
        expected = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)
        if isinstance(problem, TimeoutError) or problem.errno in expected:
            raise RefusedError from problem
        raise
    return connection
