"""Servers on loopback: Google's storage emulated, and a proxy before it that answers as bad networks do."""

import http.client
import http.server
import itertools
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gcp_storage_emulator.server
import pytest
from gcsfs import GCSFileSystem

BUCKET = "music"
STALL_S = 4.0  # longer than the time-out that tests set


class LongQueue(http.server.HTTPServer):
    """Lets many connect at once: past the usual five, connecting itself takes seconds."""

    request_queue_size = 256


class ThreadingLongQueue(socketserver.ThreadingMixIn, LongQueue):
    """One thread for each connection."""

    daemon_threads = True


@contextmanager
def emulator() -> Iterator[int]:
    """Google Cloud Storage in memory, with one bucket; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = gcp_storage_emulator.server.create_server(
        "127.0.0.1", port, in_memory=True, default_bucket=BUCKET
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gcp_storage_emulator.server.server, "HTTPServer", LongQueue)
        server.start()
    try:
        yield port
    finally:
        server.stop()


@contextmanager
def reached_through(port: int) -> Iterator[None]:
    """Let gs:// mean the server at `port`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        GCSFileSystem.clear_instance_cache()
        yield
    GCSFileSystem.clear_instance_cache()


class FaultyProxy:
    """Forwards requests, and spoils answers in turn.

    Parameters
    ----------
    port
        Of the server behind it.
    faults
        What to do to one request after the other, over and over, a repeated request being answered
        well: ``ok``, ``drop`` (close without an answer), ``lost`` (do what was requested and close), ``stall``,
        ``truncate`` (fewer bytes than announced), ``short`` (fewer bytes, and announced so), ``corrupt`` (one
        flipped bit of a file's contents; listings carry no checksum), or a status such as ``503``.
    only_media
        Spoil reads of contents alone.
    always
        Spoil repeated requests as well.
    named
        Spoil only requests whose path holds this.
    """

    def __init__(
        self,
        port: int,
        faults: tuple[str, ...] = ("ok",),
        only_media: bool = False,
        always: bool = False,
        named: str = "",
    ) -> None:
        self._named = named
        self._seen: set[tuple[str, str, str | None]] = set()
        self._always = always
        self.counts: Counter[str] = Counter()
        self.n_media = 0
        self._target, self._only_media = port, only_media
        self._faults = itertools.cycle(faults)
        self._lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client has gone
                    self.close_connection = True

            def answer(self) -> None:
                proxy.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

        self._server = ThreadingLongQueue(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self) -> "FaultyProxy":
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        is_media = request.command == "GET" and ("/download/" in request.path or "alt=media" in request.path)
        with self._lock:
            self.n_media += is_media
            key = (request.command, request.path, request.headers.get("Range"))
            spoilt = (self._always or key not in self._seen) and (is_media or not self._only_media)
            spoilt = spoilt and self._named in request.path
            self._seen.add(key)
            fault = next(self._faults) if spoilt else "ok"
            self.counts[fault] += 1
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if fault == "drop":
            request.close_connection = True
            return
        if fault == "stall":
            time.sleep(STALL_S)
            request.close_connection = True
            return
        if fault.isdigit():
            self._send(
                request, int(fault), [], b'{"error": {"code": %s, "message": "busy"}}' % fault.encode()
            )
            return
        status, headers, content = self._forward(request, body)
        if fault == "lost":
            request.close_connection = True
            return
        if is_media and content and fault == "corrupt":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if content and fault == "short":
            content = content[:-1]
        announced = len(content)
        if content and fault == "truncate":
            content = content[: len(content) // 2]
            request.close_connection = True
        self._send(request, status, headers, content, announced)

    def _forward(
        self, request: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=30)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("connection",)}
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            dropped = ("content-length", "connection", "transfer-encoding", "server", "date")
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in dropped]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _send(
        self,
        request: http.server.BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        announced: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content) if announced is None else announced))
        request.end_headers()
        request.wfile.write(content)
