"""HTTP requests whose failures are told apart: those that another attempt may mend, and those that it cannot."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 20
_SLOWEST_BYTES_PER_SECOND = 1024
_HEADERS = {"User-Agent": "melstream", "Accept-Encoding": "identity"}
_LONGEST_WORDS = 200  # characters
_TEMPORARY = {408, 425, 429}  # beside all of 500 and above


class DownloadError(ValueError):
    """A download that cannot go on; the message says what was expected, what was received, and the remedy."""


class RefusedError(DownloadError):
    """The server answered that it will not send the file.

    Attributes:
        code: the HTTP status.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InterruptedDownload(Exception):
    """An attempt that ended early.

    Attributes:
        pause_seconds: how long the server asks to be left alone; None if it does not.
    """

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


@contextlib.contextmanager
def opened(
    url: str, timeout: float, headers: dict[str, str] | None = None, method: str = "GET"
) -> Iterator[http.client.HTTPResponse]:
    """Requests a file.

    Args:
        url: http or https.
        timeout: seconds without any sign of the server.
        headers: beside the usual ones.
        method: GET or HEAD.

    Yields:
        The answer, whose status is 200 or 206.

    Raises:
        InterruptedDownload: no connection, or an answer that says "later".
        RefusedError: an answer that says no.
        DownloadError: a page instead of a file, or no valid certificate.
    """
    request = urllib.request.Request(url, headers=_HEADERS | (headers or {}), method=method)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        words = f"HTTP {error.code} {http.client.responses.get(error.code, '')}".strip()
        if error.code in _TEMPORARY or error.code >= 500:
            after = error.headers.get("Retry-After", "")
            raise InterruptedDownload(words, float(after) if re.fullmatch(r"\d{1,9}", after) else None) from error
        raise RefusedError(f"expected {url}, the server answered {words}; check --base_url", error.code) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)  # urllib wraps what happened
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"expected a valid certificate from {url}, received another ({reason.verify_message}); check the clock, "
                "the proxy and --base_url"
            ) from error
        raise InterruptedDownload(f"no answer ({in_words(reason)})") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(
                f"expected a file from {url}, received a web page; check --base_url, and whether this network wants "
                "you to log in"
            )
        yield response


def received(response: http.client.HTTPResponse, stall_seconds: float) -> Iterator[bytes]:
    """Yields what arrives, until the server ends or closes.

    Raises:
        InterruptedDownload: the connection broke, or brought less than 1 KiB a second over `stall_seconds`.
    """
    window_start, window_bytes = time.monotonic(), 0
    while True:
        try:
            data = response.read1(BLOCK_BYTES)
        except TimeoutError as error:
            raise InterruptedDownload(f"nothing arrived for {stall_seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise InterruptedDownload(f"the connection broke ({in_words(error)})") from error
        if not data:
            return
        yield data
        window_bytes += len(data)
        seconds = time.monotonic() - window_start
        if seconds >= stall_seconds:
            if window_bytes < _SLOWEST_BYTES_PER_SECOND * seconds:
                raise InterruptedDownload(f"only {window_bytes:,} bytes arrived in {seconds:.0f} s")
            window_start, window_bytes = time.monotonic(), 0


def remote_bytes(
    url: str, retries: int = 3, timeout: float = 60, sleep: Callable[[float], None] = time.sleep
) -> int | None:
    """Asks a server for the size of a file without fetching it; None where it does not say.

    Raises:
        DownloadError: there is no such file, or no such server.
    """
    for attempt in range(retries + 1):
        try:
            with opened(url, timeout, method="HEAD") as response:
                return announced_bytes(response)
        except RefusedError as refusal:
            if refusal.code in (404, 410):
                raise
            return None  # a server need not answer HEAD
        except InterruptedDownload as interruption:
            reason = interruption
            if attempt < retries:
                sleep(2.0**attempt)
    raise DownloadError(
        f"expected an answer from {url}, received none in {retries + 1} attempts: {reason}; check the connection and "
        "--base_url, or try later"
    )


def announced_bytes(response: http.client.HTTPResponse) -> int | None:
    """The length of an answer's body, where the server says it."""
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def validator(response: http.client.HTTPResponse) -> str:
    """What names this version of the file for If-Range: a strong ETag, or else its date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def in_words(error: object) -> str:
    """An error for the terminal: what others wrote is quoted, as it may hold control characters, and cut short."""
    words = getattr(error, "strerror", None) or repr(error)
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"
