"""The Kubernetes API, as the stand-ins of a cluster talk to it: standard library only."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_MERGE = "application/strategic-merge-patch+json"


class RefusedError(Exception):
    """The server said no: a status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """One API server and who we are to it."""

    address: str
    token: str
    certificate: str

    @classmethod
    def of_environment(cls) -> Api:
        """The server of $KUBECONFIG, which is JSON here: every JSON document is YAML too."""
        configuration = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
        cluster = configuration["clusters"][0]["cluster"]
        user = configuration["users"][0]["user"]
        address = urlsplit(cluster["server"]).netloc
        return cls(address, user["token"], cluster["certificate-authority"])

    def list(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.call("GET", path)["items"]
        return items

    def patch(self, path: str, change: dict[str, Any]) -> None:
        self.call("PATCH", path, change, _MERGE)

    def call(
        self, method: str, path: str, body: Any = None, content: str = "application/json"
    ) -> Any:
        """One request; raises RefusedError where the answer is not one of success."""
        connection = self._connect(timeout=10)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {**self._headers, "Content-Type": content})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status >= http.client.BAD_REQUEST:
                raise RefusedError(answer.status, text)
            return json.loads(text)
        finally:
            connection.close()

    def follow(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every object under a path and then every change of one, for ever.

        Yields ADDED, MODIFIED or DELETED with the object. After a lost connection all objects
        come as ADDED again, and those that went meanwhile as DELETED.
        """
        known: dict[str, dict[str, Any]] = {}
        while True:
            try:
                listed = self.call("GET", path)
                now = {item["metadata"]["uid"]: item for item in listed["items"]}
                yield from (("DELETED", known[uid]) for uid in known.keys() - now.keys())
                yield from (("ADDED", item) for item in now.values())
                known = now
                for event, item in self._watch(path, listed["metadata"]["resourceVersion"]):
                    if event == "DELETED":
                        known.pop(item["metadata"]["uid"], None)
                    else:
                        known[item["metadata"]["uid"]] = item
                    yield event, item
            except (OSError, http.client.HTTPException, RefusedError) as problem:
                print(f"lost {path}: {problem}", flush=True)  # noqa: T201 # into the log
                time.sleep(0.2)

    def _watch(self, path: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        connection = self._connect(timeout=None)
        try:
            query = f"watch=1&resourceVersion={version}"
            connection.request("GET", f"{path}?{query}", headers=self._headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise RefusedError(answer.status, answer.read().decode())
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":  # the version is too old: list again
                    return
                yield event["type"], event["object"]
        finally:
            connection.close()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}

    def _connect(self, timeout: float | None) -> http.client.HTTPSConnection:
        # Not the default context: newer Pythons want extensions that the server's own CA lacks.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        return http.client.HTTPSConnection(self.address, timeout=timeout, context=context)
