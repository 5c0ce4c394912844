"""The load generator counts what a user would lose, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.live.containers import wait_until
from tests.live.http import Target
from tests.live.load import Load, Result, Sent

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_OK_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
_OK_LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

_Behaviour = Callable[[socket.socket], None]


def _answer_with(*answers: bytes) -> _Behaviour:
    """Answer so many requests of each connection, then close it."""

    def behave(connection: socket.socket) -> None:
        for answer in answers:
            if not connection.recv(65536):
                break
            connection.sendall(answer)

    return behave


@contextmanager
def _server(behaviour: _Behaviour) -> Iterator[tuple[Target, list[int]]]:
    """Serve one connection after the other; the list grows by one for each."""
    accepted: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(1)
            with connection:
                behaviour(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield Target("127.0.0.1", listener.getsockname()[1]), accepted
        listener.shutdown(socket.SHUT_RDWR)


def _load(target: Target, *, rate: int = 100) -> Load:
    """Ten requests."""
    with Load(target, rate=rate, seconds=10 / rate) as load:
        wait_until(lambda: load.result.sent == 10, "ten requests")
    return load


@pytest.mark.parametrize("answer", [_OK, _OK_CHUNKED])
def test_connections_are_kept(answer: bytes) -> None:
    """A server that allows it gets all requests on one connection."""
    with _server(_answer_with(*[answer] * 10)) as (target, accepted):
        result = _load(target, rate=20).result
    assert result.statuses == {200: 10}
    assert len(accepted) == 1


@pytest.mark.parametrize("answer", [_OK, _OK_LAST])
def test_closed_connections_are_not_used(answer: bytes) -> None:
    """A connection that the server closes, announced or not, gets no request."""
    with _server(_answer_with(answer)) as (target, accepted):
        result = _load(target, rate=20).result
    assert result.statuses == {200: 10}
    assert len(accepted) == 10


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"", "reset"), (_OK[:-1], "reset"), (b"HTTP/1.1 200 OK\r\n\r\nok", "garbled")],
)
def test_a_cut_request_has_failed(answer: bytes, kind: str) -> None:
    """A request that was sent and not answered whole is lost, and never sent again."""
    with _server(_answer_with(answer)) as (target, accepted):
        result = _load(target).result
    assert result.failed == {kind: 10}
    assert not result.statuses
    assert len(accepted) == 10


def test_refused_is_failed_unless_the_server_stops() -> None:
    """Refusals are what a balancer reroutes only from the moment the server is being stopped."""
    with _server(_answer_with(_OK)) as (target, _):
        pass
    assert _load(target).result.failed == {"refused": 10}
    load = Load(target, rate=100, seconds=0.1)
    load.server_stops()
    with load:
        wait_until(lambda: load.result.sent == 10, "ten requests")
    assert not load.result.failed
    assert load.result.rerouted == 10


def test_only_the_last_connection_may_be_left_in_the_queue() -> None:
    """Of many cut requests one is forgiven: the kernel may have taken it, but not the server."""
    outcomes: list[int | str] = [200, "reset", 200, "reset", "reset", "refused", "refused"]
    requests = tuple(
        Sent(at=at, seconds=0.1, outcome=outcome, fresh=True, kept=False)
        for at, outcome in enumerate(outcomes)
    )
    result = Result(requests, stopping_at=1)
    assert result.failed == {"reset": 2}
    assert result.rerouted == 3


def test_other_machines_are_no_target() -> None:
    """Load goes to this machine and to nothing else."""
    with pytest.raises(ValueError, match="neither loopback nor a container"):
        Target("192.0.2.1", 80)
