"""An OpenAI-compatible provider on loopback that does as it is told and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer. `body` None: the connection is dropped. `hold`: answered only when it is set. `missing`: so many
    bytes are promised and never come."""

    status: int = 200
    body: bytes | None = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    missing: int = 0


@dataclass
class Request:
    """What came: its JSON and its headers."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]


def answer(text: str | None, prompt_tokens: int = 10, completion_tokens: int = 5, **message: Any) -> Reply:
    """A chat completion."""
    completion = {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls" if message else "stop",
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    return Reply(body=json.dumps(completion).encode(), headers={"Content-Type": "application/json"})


def tool_call(name: str, arguments: dict[str, Any]) -> Reply:
    """A chat completion that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return answer(None, tool_calls=[call])


def streamed(*pieces: str) -> Reply:
    """A chat completion in pieces, with its usage in the last one but `[DONE]`."""
    base = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}}]} for piece in pieces
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    chunks.append({**base, "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
    return Reply(body="".join(lines).encode(), headers={"Content-Type": "text/event-stream"})


def failure(status: int, code: str = "some_code", **headers: str) -> Reply:
    """An error in OpenAI's form."""
    body = {"error": {"message": f"failing with {status}", "type": "error", "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **named})


DROPPED = Reply(body=None)
MALFORMED = Reply(body=b'{"choices": [{"mess', headers={"Content-Type": "application/json"})
NO_CHOICES = Reply(body=b'{"id": "x", "choices": []}', headers={"Content-Type": "application/json"})


class Provider:
    """The server. `behave` decides every answer; by default it numbers them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.behave: Callable[[Request], Reply] = lambda _: answer(f"answer {len(self.requests)}")
        self.arrived = threading.Event()
        self.hung_up = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)

    @property
    def base_url(self) -> str:
        """With `/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def take(self, request: Request) -> Reply:
        """Notes a request and finds its answer."""
        with self._lock:
            self.requests.append(request)
            reply = self.behave(request)
        self.arrived.set()
        return reply

    def forget(self) -> None:
        """As it was at first."""
        with self._lock:
            self.requests.clear()
            self.behave = lambda _: answer(f"answer {len(self.requests)}")
            self.arrived.clear()
            self.hung_up.clear()

    def start(self) -> None:
        """Serves, in threads."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = Request(self.path, json.loads(self.rfile.read(length) or b"{}"), dict(self.headers))
        reply = self.server.provider.take(request)
        if reply.hold is not None:
            self._hold(reply.hold)
        if reply.body is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body) + reply.missing)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = self.close_connection or reply.missing > 0

    def _hold(self, until: threading.Event) -> None:
        """Waits for the test, or for the client to hang up."""
        self.connection.settimeout(0.02)
        while not until.is_set():
            try:
                if self.connection.recv(1) == b"":
                    self.server.provider.hung_up.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.server.provider.hung_up.set()
                return
        self.connection.settimeout(None)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextmanager
def serving() -> Iterator[Provider]:
    """A provider for the time of the block."""
    provider = Provider()
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()
