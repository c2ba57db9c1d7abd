"""An HTTP server on this machine that serves files as servers should, or fails in a chosen way."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from collections.abc import Iterator

VERSION = '"version 1"'


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files` by name.

    Attributes:
        files: contents by name.
        faults: what goes wrong with the next GET requests, one each; see `Handler.do_GET`.
        requests: (method, name, Range header) of each request so far.
        released: set it to let go of connections that stall.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.faults: list[str] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.released = threading.Event()
        self.stalling = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("", body=False)

    def do_GET(self) -> None:
        self._answer(self.server.faults.pop(0) if self.server.faults else "")

    def _answer(self, fault: str, body: bool = True) -> None:
        name = self.path.removeprefix("/")
        self.server.requests.append((self.command, name, self.headers.get("Range")))
        data = self.server.files.get(name)
        if data is None or re.fullmatch(r"\d{3}", fault):
            self.send_error(int(fault or 404))
            return
        if fault == "page":
            data = b"<html>log in"
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        version = '"version 2"' if fault == "changed" else VERSION
        first = self._first_byte(version) if "no ranges" not in fault and fault != "page" else 0
        if first > len(data) or (first and first == len(data)):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        self.send_header("ETag", version)
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/zip")
        rest = data[first:]
        length = len(rest) + {"too long": 100, "too short": -100, "huge": 10**15}.get(fault, 0)
        if first:
            start = 0 if fault == "other range" else first
            self.send_header("Content-Range", f"bytes {start}-{first + length - 1}/{first + length}")
        if fault not in ("endless", "no length"):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if not body:
            return
        with contextlib.suppress(ConnectionError):
            if "break" in fault:
                self.wfile.write(rest[: len(rest) // 2])
            elif fault in ("stall", "trickle"):
                self.wfile.write(rest[: len(rest) // 2])
                self.server.stalling.set()
                while not self.server.released.wait(0.02):
                    self.wfile.write(b"." if fault == "trickle" else b"")
            elif fault == "endless":
                while True:
                    self.wfile.write(data)
            else:
                self.wfile.write(rest)

    def _first_byte(self, version: str) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", version) == version
        return int(match[1]) if match and same else 0


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    with FileServer(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
