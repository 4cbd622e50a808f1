"""A REST application that shows what arrives at it, and when."""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

ABORTED = []
STARTED = []


class Echo(Response):
    """Answers while the request is still being sent. `StreamingResponse` cannot: it reads the rest of the request
    itself, to notice when the client leaves."""

    async def __call__(self, scope, receive, send):
        headers = [(b"content-type", b"application/octet-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


@asynccontextmanager
async def lifespan(app):
    STARTED.append(os.getpid())
    yield
    print("the application was shut down", flush=True)


def mount(app: FastAPI):
    app.state.mounted = True
    app.router.lifespan_context = lifespan

    @app.get("/api/ping")
    async def ping():
        return {"pong": True, "pid": os.getpid()}

    @app.get("/api/hello")
    async def hello():
        return {"hello": "world"}

    @app.get("/api/lifespan")
    async def started():
        return {"started": STARTED, "mounted": app.state.mounted}

    @app.api_route("/api/request", methods=["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
    async def request(request: Request):
        """What of the request has arrived, repeated names included; answers with a repeated header."""
        body = await request.body()
        said = {
            "method": request.method,
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw
            ],
            "query": request.query_params.multi_items(),
            "body": body.decode("utf-8", "replace"),
            "client": request.client.host if request.client else None,
        }
        response = JSONResponse(said)
        response.headers.append("set-cookie", "a=1; Path=/")
        response.headers.append("set-cookie", "b=2; Path=/")
        return response

    @app.post("/api/echo")
    async def echo():
        """The body, part by part as it comes."""
        return Echo()

    @app.get("/api/events")
    async def events(count: int = 10, seconds: float = 0.1):
        """One event now, and one more each time that `seconds` have passed."""

        async def items():
            for number in range(count):
                if number:
                    await asyncio.sleep(seconds)
                yield f'id: {number}\ndata: {{"number": {number}}}\n\n'

        return StreamingResponse(items(), media_type="text/event-stream")

    @app.websocket("/api/ws")
    async def ws(socket: WebSocket):
        """Gives back every message, text as text and bytes as bytes."""
        offered = socket.scope.get("subprotocols") or [None]
        await socket.accept(subprotocol=offered[0])
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    ABORTED.append("ws")
                    return
                if message.get("bytes") is not None:
                    await socket.send_bytes(message["bytes"])
                elif message["text"] == "close":
                    await socket.close(4001, "as you wish")
                    return
                else:
                    await socket.send_text(message["text"])
        except WebSocketDisconnect:
            ABORTED.append("ws")

    @app.get("/api/where")
    async def where(request: Request):
        """What the application believes about its own address."""
        return {
            "url": str(request.url),
            "base_url": str(request.base_url),
            "url_for": str(request.url_for("where")),
            "root_path": request.scope.get("root_path", ""),
            "scheme": request.url.scheme,
        }

    @app.get("/api/slow")
    async def slow(request: Request, name: str = "slow", seconds: float = 60.0):
        """Takes its time, and notes under `name` if the client does not wait for it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            while loop.time() < end:
                if await request.is_disconnected():
                    ABORTED.append(name)
                    return PlainTextResponse("nobody reads this")
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            ABORTED.append(name)
            raise
        return {"slept": seconds}

    @app.get("/api/endless")
    async def endless(name: str = "endless"):
        """Sends until the client goes, and notes that under `name`."""

        async def parts():
            try:
                while True:
                    yield b"x" * 1024
                    await asyncio.sleep(0.02)
            finally:
                ABORTED.append(name)

        return StreamingResponse(parts(), media_type="application/octet-stream")

    @app.get("/api/aborted")
    async def aborted():
        return ABORTED

    @app.get("/api/large")
    async def large(size: int = 1_048_576):
        """That many bytes."""

        async def parts():
            left = size
            while left > 0:
                part = b"x" * min(left, 65_536)
                left -= len(part)
                yield part

        return StreamingResponse(parts(), media_type="application/octet-stream")

    @app.get("/api/raises")
    async def raises():
        raise RuntimeError("this endpoint fails on purpose")

    @app.get("/api/exits")
    async def exits():
        """Ends the process, as a crash would."""
        os._exit(3)
