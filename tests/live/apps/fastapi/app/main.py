"""An app that was there before gen: it keeps the contract in its own way."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()


class Server(uvicorn.Server):
    """Says that it is not ready, and stops a little later."""

    stopping = False

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True
        delay = float(os.environ.get("SHUTDOWN_DELAY", "1"))
        asyncio.get_running_loop().call_later(delay, self.exit)

    def exit(self) -> None:
        self.should_exit = True


server = Server(
    uvicorn.Config(
        app,
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a container has its own addresses
        port=int(os.environ.get("PORT", "8080")),
        access_log=False,
    )
)


@app.middleware("http")
async def close_connections_while_stopping(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    if server.stopping:
        response.headers["Connection"] = "close"
    return response


@app.get("/healthz")
async def live() -> str:
    return "alive"


@app.get("/readyz")
async def ready() -> Response:
    return Response(status_code=503 if server.stopping else 200)


@app.get("/version")
async def version() -> dict[str, str | None]:
    return {"version": os.environ.get("APP_VERSION")}


@app.get("/")
async def hello() -> str:
    return "Hello from FastAPI"


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body())


if __name__ == "__main__":
    server.run()
