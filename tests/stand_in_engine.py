"""A stand-in for a Docker engine: speaks as much of its API as `gen image push` uses.

What a real engine does is for tests/live; this one is here to see what is sent to it, and to say
what a registry would say.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

DIGEST = "sha256:" + "5e" * 32
DONE = ({"aux": {"Tag": "-", "Digest": DIGEST, "Size": 1}},)
_VERSION_LABEL = "org.opencontainers.image.version"


class Push(NamedTuple):
    """A push that was asked for: where to, and the login that came with it."""

    image: str
    login: dict[str, str]


class StandInEngine:
    """An engine that has the given images: their names and the version in their label."""

    def __init__(self, images: dict[str, str]):
        self.images = images
        self.answer: Sequence[dict[str, Any]] = DONE  # to a push
        self.pushes: list[Push] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                engine._get(self)

            def do_POST(self) -> None:
                engine._post(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.server.server_address[1]}"

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.partition("/images/")[2].removesuffix("/json")
        if request.path.endswith("/version"):
            _answer(request, 200, {"ApiVersion": "1.44"})
        elif name in self.images:
            labels = {_VERSION_LABEL: self.images[name]}
            _answer(request, 200, {"Id": "sha256:1d", "Config": {"Labels": labels}})
        else:
            _answer(request, 404, {"message": f"No such image: {name}"})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(request.path)
        if not url.path.endswith("/push"):
            _answer(request, 201, {})
            return
        repository = url.path.partition("/images/")[2].removesuffix("/push")
        tag = urllib.parse.parse_qs(url.query)["tag"][0]
        login = json.loads(base64.urlsafe_b64decode(request.headers.get("X-Registry-Auth", "e30=")))
        self.pushes.append(Push(f"{repository}:{tag}", login))
        _stream(request, self.answer)


def _answer(request: BaseHTTPRequestHandler, status: int, data: dict[str, Any]) -> None:
    body = json.dumps(data).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _stream(request: BaseHTTPRequestHandler, events: Sequence[dict[str, Any]]) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for event in events:
        line = json.dumps(event).encode() + b"\r\n"
        request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
    request.wfile.write(b"0\r\n\r\n")


@contextmanager
def stand_in_engine(images: dict[str, str]) -> Iterator[StandInEngine]:
    """A stand-in for as long as the block runs."""
    engine = StandInEngine(images)
    thread = threading.Thread(target=engine.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.server.shutdown()
        engine.server.server_close()
        thread.join()
