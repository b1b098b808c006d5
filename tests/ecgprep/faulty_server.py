"""A web server for the tests, which gives files and, when told to, misbehaves as servers and networks do."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyServer(ThreadingHTTPServer):
    """Files in memory; for each path a queue of faults, one for each request, before it is served as it should be."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[tuple[str, str]] = []
        self.sent: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away in these tests; that is no news."""


class Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.requests[self.path] += 1
        self.range = self.headers.get("Range", "")
        server.ranges.append((self.path, self.range))
        if self.path not in server.files and self.path not in server.always:
            answer(self, 404, b"no such file")
        elif server.faults[self.path]:
            server.faults[self.path].popleft()(self)
        else:
            server.always.get(self.path, well)(self)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


Fault = Callable[[Handler], None]


def answer(handler: Handler, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = -1) -> None:
    """Send an answer; with `cut`, promise the whole body and send that much of it."""
    handler.send_response(status)
    for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
        handler.send_header(key, value)
    handler.end_headers()
    part = body if cut < 0 else body[:cut]
    handler.wfile.write(part)
    handler.server.sent[handler.path] += len(part)
    if cut >= 0:
        handler.wfile.flush()
        handler.close_connection = True


def asked(handler: Handler) -> int:
    return int(handler.range.removeprefix("bytes=").rstrip("-") or 0)


def body(handler: Handler) -> bytes:
    return handler.server.files[handler.path]


def span(first: int, size: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {first}-{size - 1}/{size}"}


def well(handler: Handler, cut: int = -1) -> None:
    """Serve the file, or the range that was asked for."""
    whole, first = body(handler), asked(handler)
    if not first:
        answer(handler, 200, whole, cut=cut)
    elif first >= len(whole):
        answer(handler, 416, b"", {"Content-Range": f"bytes */{len(whole)}"})
    else:
        answer(handler, 206, whole[first:], span(first, len(whole)), cut)


def drop(after: int) -> Fault:
    """Close the connection in mid-body."""
    return lambda handler: well(handler, cut=after)


def stall(after: int, for_s: float) -> Fault:
    """Send a part and then nothing for a while."""

    def serve(handler: Handler) -> None:
        well(handler, cut=after)
        time.sleep(for_s)

    return serve


def drip(pause_s: float) -> Fault:
    """Send byte by byte, never long enough apart for a time-out."""

    def serve(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body(handler))))
        handler.end_headers()
        for i in range(len(body(handler))):
            handler.wfile.write(body(handler)[i : i + 1])
            time.sleep(pause_s)

    return serve


def status(code: int, headers: dict[str, str] | None = None) -> Fault:
    return lambda handler: answer(handler, code, b"go away", headers)


def ignore_range(handler: Handler) -> None:
    answer(handler, 200, body(handler))


def wrong_range(handler: Handler) -> None:
    """Say that other bytes were sent than were asked for, and send them."""
    answer(handler, 206, body(handler)[1:], span(1, len(body(handler))))


def wrong_bytes_of_range(handler: Handler) -> None:
    """Name the right range and send other bytes."""
    whole, first = body(handler), asked(handler)
    answer(handler, 206, whole[: len(whole) - first], span(first, len(whole)))


def wrong_byte(handler: Handler) -> None:
    """Flip the last bit."""
    whole = body(handler)
    answer(handler, 200, whole[:-1] + bytes([whole[-1] ^ 1]))


def web_page(handler: Handler) -> None:
    answer(handler, 200, b"<!DOCTYPE html><html>Please log in</html>", {"Content-Type": "text/html"})


def redirect(to: str) -> Fault:
    return lambda handler: answer(handler, 302, b"", {"Location": to})


def gives(content: bytes) -> Fault:
    return lambda handler: answer(handler, 200, content)


@contextmanager
def running() -> Iterator[FaultyServer]:
    """Run a server for the length of the ``with`` block."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
