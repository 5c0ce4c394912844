"""Stands in for the containers of a cluster's pods: real listeners at the pods' addresses.

    python -m tests.live.pods       until it is killed; $KUBECONFIG names the cluster

A pod becomes Ready when it listens on all ports of its containers. To a GET it answers its name
and version, as its labels have them: with status 500 where the version contains "unwell". One
whose version contains "broken" never listens and never becomes Ready.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from tests.live.kube import Api, RefusedError

_LABEL = "app.kubernetes.io/"


class Containers:
    """What runs in the pods; a pod has an entry as long as it exists."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._listeners: dict[str, list[asyncio.Server]] = {}

    async def see(self, event: str, pod: dict[str, Any]) -> None:
        """Start or stop what a change of a pod asks for."""
        uid = pod["metadata"]["uid"]
        if event == "DELETED":
            for listener in self._listeners.pop(uid, []):
                listener.close()
        elif _has_started(pod) and uid not in self._listeners:
            self._listeners[uid] = []
            # The pods of a job end; they do not serve.
            if "broken" not in _label(pod, "version") and not _is_of_job(pod):
                await self._listen(pod, self._listeners[uid])

    async def _listen(self, pod: dict[str, Any], listeners: list[asyncio.Server]) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer(pod, reader, writer)

        try:
            for port in _ports(pod):
                listener = await asyncio.start_server(answer, pod["status"]["podIP"], port)
                listeners.append(listener)
            await asyncio.to_thread(self._make_ready, pod)
        except (OSError, RefusedError) as problem:
            print(f"{pod['metadata']['name']}: {problem}", flush=True)  # noqa: T201 # into the log

    def _make_ready(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": pod["status"]["startTime"]}
            for kind in ("ContainersReady", "Ready")
        ]
        statuses = [
            status | {"ready": True, "started": True}
            for status in pod["status"].get("containerStatuses", [])
        ]
        self._api.patch(
            f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status",
            {
                # Not another pod that has got the name meanwhile.
                "metadata": {"uid": metadata["uid"]},
                "status": {"conditions": conditions, "containerStatuses": statuses},
            },
        )


async def _answer(
    pod: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request; the connection ends with it, so none outlives its pod."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        names = {"name": _label(pod, "name"), "version": _label(pod, "version")}
        body = json.dumps({**names, "pod": pod["metadata"]["name"]}).encode()
        is_unwell = "unwell" in names["version"]
        status = HTTPStatus.INTERNAL_SERVER_ERROR if is_unwell else HTTPStatus.OK
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # a client that only knocks
    finally:
        writer.close()


def _has_started(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") == "Running" and "podIP" in pod["status"]


def _is_of_job(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", []))


def _ports(pod: dict[str, Any]) -> set[int]:
    containers = pod["spec"]["containers"]
    return {port["containerPort"] for each in containers for port in each.get("ports", [])}


def _label(pod: dict[str, Any], name: str) -> str:
    label: str = pod["metadata"].get("labels", {}).get(_LABEL + name, "")
    return label


async def main() -> None:
    api = Api.of_environment()
    containers = Containers(api)
    changes = api.follow("/api/v1/pods")
    while True:
        await containers.see(*await asyncio.to_thread(next, changes))


if __name__ == "__main__":
    asyncio.run(main())
