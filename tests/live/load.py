"""An open-loop load generator: so many requests a second, whatever the answers.

A client like any other: HTTP/1.1 with kept-alive connections, `Connection: close` honoured, an
idle connection that the server has closed is not used. A request of which a byte was sent is
never sent again, so whatever a deployment loses is counted; but for `resends`, see there.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from tests.live.http import (
    ANSWER_SECONDS,
    RefusedError,
    Target,
    UnansweredError,
    connect,
    exchange,
)

_MOST_REQUESTS = 60_000
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Sent:
    """What became of one request: a status, or the kind of failure.

    `refused`: no connection could be made. `reset`, `timeout`, `garbled`: what they say.
    `fresh`: it was the first request of its connection. `kept`: the server left it open for more.
    `resent`: the connection that it was first sent on had ended meanwhile.
    """

    at: float
    seconds: float
    outcome: int | str
    fresh: bool
    kept: bool
    resent: bool = False


@dataclass(frozen=True)
class Result:
    """All requests of a run, in the order of their sending."""

    requests: tuple[Sent, ...]
    stopping_at: float | None

    @property
    def sent(self) -> int:
        return len(self.requests)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(one.outcome for one in self.requests if isinstance(one.outcome, int))

    @property
    def failed(self) -> Counter[str]:
        """Requests that a user would have lost, by kind."""
        rerouted = set(self._rerouted)
        return Counter(
            one.outcome
            for one in self.requests
            if isinstance(one.outcome, str) and one not in rerouted
        )

    @property
    def rerouted(self) -> int:
        """Requests that a stopping server never took: a balancer gives them to another."""
        return len(self._rerouted)

    @property
    def _rerouted(self) -> tuple[Sent, ...]:
        refused = [one for one in self._while_stopping if one.outcome == "refused"]
        return (*refused, *self._left_in_queue) if refused else ()

    @property
    def _left_in_queue(self) -> tuple[Sent, ...]:
        """The one connection that may lie between the last accepted and the first refused.

        The kernel takes connections for a server in advance and resets those that are still in
        its queue when the server closes its listener; from outside that is a reset like others.
        """
        new = [one for one in self._while_stopping if one.fresh and one.outcome != "refused"]
        return tuple(one for one in new[-1:] if one.outcome == "reset")

    @property
    def _while_stopping(self) -> tuple[Sent, ...]:
        if self.stopping_at is None:
            return ()
        return tuple(one for one in self.requests if one.at >= self.stopping_at)

    def answered_after(self, moment: float) -> tuple[Sent, ...]:
        """The requests sent after this moment (time.monotonic) that were answered."""
        later = (one for one in self.requests if one.at > moment)
        return tuple(one for one in later if isinstance(one.outcome, int))

    def seconds(self, percent: float) -> float:
        """The latency that this share of the answered requests stayed within."""
        latencies = sorted(one.seconds for one in self.requests if isinstance(one.outcome, int))
        if not latencies:
            return 0.0
        return latencies[min(len(latencies) - 1, int(len(latencies) * percent / 100))]

    def __str__(self) -> str:
        answered = ", ".join(f"{count} x {code}" for code, count in sorted(self.statuses.items()))
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failed.items()))
        return (
            f"{self.sent} sent: {answered or 'none'}; failed: {failed or 'none'}; "
            f"rerouted: {self.rerouted}; resent: {sum(one.resent for one in self.requests)}; "
            f"p50 {self.seconds(50) * 1000:.0f} ms, p99 {self.seconds(99) * 1000:.0f} ms"
        )


class Load:
    """Load on a target for as long as the block runs, at most `seconds`, from its own thread.

    With `resends`, a request on a kept connection that ends without a byte of an answer is sent once
    more, on a new one: a server may end an idle connection while a request is on its way there, so
    every client of HTTP does this for what may be sent twice (RFC 9112, 9.3.1).
    """

    def __init__(
        self,
        target: Target,
        path: str = "/",
        *,
        rate: int = 200,
        seconds: float = 60,
        keep_alive: bool = True,
        resends: bool = False,
    ) -> None:
        if rate * seconds > _MOST_REQUESTS or seconds > _LONGEST_SECONDS:
            raise ValueError(f"at most {_MOST_REQUESTS} requests in {_LONGEST_SECONDS:.0f} s")
        self._client = _Client(target, path, keep_alive=keep_alive, resends=resends)
        self._rate = rate
        self._seconds = seconds
        self._ended = threading.Event()
        self._requests: list[Sent] = []
        self._stopping_at: float | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    @property
    def answered(self) -> int:
        return self.result.statuses.total()

    @property
    def lost(self) -> int:
        """How many failed so far: without an answer, or with one that says so."""
        requests = list(self._requests)
        return sum(not isinstance(one.outcome, int) or one.outcome >= 500 for one in requests)

    def server_stops(self) -> None:
        """From now on the server may refuse connections; before, that counts as failed."""
        self._stopping_at = time.monotonic()

    @property
    def result(self) -> Result:
        if self._problem:
            raise self._problem
        requests = sorted(self._requests, key=lambda one: one.at)
        return Result(tuple(requests), self._stopping_at)

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as problem:
            self._problem = problem

    async def _send(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(self._rate * self._seconds)):
                await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                if self._ended.is_set():
                    break
                tasks.create_task(self._send_one())
        self._client.close()

    async def _send_one(self) -> None:
        self._requests.append(await self._client.send())


@dataclass
class _Client:
    target: Target
    path: str
    keep_alive: bool
    resends: bool
    _idle: list[socket.socket] = field(default_factory=list)

    async def send(self) -> Sent:
        began = time.monotonic()
        try:
            return await self._send_on(self._take_idle(), began)
        except UnansweredError:
            return replace(await self._send_on(None, began), resent=True)

    async def _send_on(self, connection: socket.socket | None, began: float) -> Sent:
        fresh = connection is None
        kept = False
        outcome: int | str
        try:
            if connection is None:
                connection = await connect(self.target)
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await exchange(connection, self._request())
            outcome, kept = answer.status, not answer.close
            if self.keep_alive and kept:
                self._idle.append(connection)
                connection = None
        except (OSError, ValueError, asyncio.IncompleteReadError) as problem:
            if isinstance(problem, UnansweredError) and self.resends and not fresh:
                raise
            outcome = _kind(problem)
        finally:
            if connection is not None:
                connection.close()
        return Sent(began, time.monotonic() - began, outcome, fresh, kept)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    def _take_idle(self) -> socket.socket | None:
        while self._idle:
            connection = self._idle.pop()
            if _is_quiet(connection):
                return connection
            connection.close()
        return None

    def _request(self) -> bytes:
        close = "" if self.keep_alive else "Connection: close\r\n"
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.target}\r\n{close}\r\n".encode()


def _kind(problem: Exception) -> str:
    """What a failure is called in a result."""
    if isinstance(problem, RefusedError):
        return "refused"
    if isinstance(problem, TimeoutError):
        return "timeout"
    if isinstance(problem, ConnectionError | asyncio.IncompleteReadError):
        return "reset"
    if isinstance(problem, OSError):
        return problem.strerror or "unknown"
    return "garbled"


def _is_quiet(connection: socket.socket) -> bool:
    """Whether an idle connection is still open: a closed one has its end to read."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False
