"""An S3 server in a process of its own: moto behind HTTP, with faults on demand and counts of all requests.

python -m tests.support.s3_server 8333
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.paths import REPOSITORY
from tests.support.serving import free_port

KEY, SECRET = "AKIATESTKEY", "never-to-be-printed/secret"
BUCKET = "bucket"
CONTROL = "/__control__"
ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


@dataclass
class Faults:
    """The faults of the server.

    Attributes:
        every: Each request whose number is divisible by this fails with status 500; 0 for none.
        seconds: Each answer takes this long.
        cut: The server closes the connection in the middle of the body of these many next uploads of a shard.
        cut_downloads: Likewise, of the next downloads of a shard.
        expired: Whether the key has expired.
    """

    every: int = 0
    seconds: float = 0.0
    cut: int = 0
    cut_downloads: int = 0
    expired: bool = False


@dataclass
class Counts:
    """The server's counts of requests, failures and bytes."""

    requests: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    downloads: dict[str, int] = field(default_factory=dict)


class FaultyS3:
    """A WSGI application around moto's."""

    def __init__(self, application: Callable[..., Iterable[bytes]]):
        self.application = application
        self.faults, self.counts, self.number = Faults(), Counts(), 0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == CONTROL:
            return self._control(environ, start_response)
        with self.lock:
            self.number += 1
            number = self.number
            self.counts.requests[method] = self.counts.requests.get(method, 0) + 1
            self.counts.bytes_in += int(environ.get("CONTENT_LENGTH") or 0)
        faults = self.faults
        time.sleep(faults.seconds)
        is_shard = path.endswith(".arrow")
        failure = None
        if faults.expired:
            failure = ("403 Forbidden", "ExpiredToken", "The provided token has expired.")
        elif faults.every and number % faults.every == 0:
            failure = ("500 Internal Server Error", "InternalError", "We encountered an internal error.")
        if failure:
            self.counts.failed += 1
            start_response(failure[0], [("Content-Type", "application/xml")])
            return [] if method == "HEAD" else [ERROR.format(code=failure[1], message=failure[2]).encode()]
        if method == "PUT" and is_shard and faults.cut:
            faults.cut -= 1
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]) // 2)
            self._close(environ)
            raise ConnectionAbortedError
        body = self.application(environ, start_response)
        if method == "GET":
            content = b"".join(body)
            with self.lock:
                self.counts.bytes_out += len(content)
                self.counts.downloads[path] = self.counts.downloads.get(path, 0) + len(content)
            if is_shard and faults.cut_downloads:
                faults.cut_downloads -= 1
                return self._half(content, environ)
            return [content]
        return body

    def _control(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            self.faults = Faults(**json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            self.counts = Counts()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(asdict(self.counts)).encode()]

    def _half(self, content: bytes, environ: dict[str, Any]) -> Iterator[bytes]:
        yield content[: len(content) // 2]
        self._close(environ)

    def _close(self, environ: dict[str, Any]) -> None:
        self.counts.failed += 1
        environ["werkzeug.socket"].shutdown(2)


@dataclass
class S3:
    """A running server.

    Attributes:
        url: Its address.
        environment: The variables with which a process uses it.
    """

    url: str
    environment: dict[str, str]

    def set_faults(self, **faults: Any) -> None:
        """Set the faults and the counts to zero, except for these."""
        self._control(json.dumps(faults).encode())

    def counts(self) -> Counts:
        """Return what was asked of the server since `set_faults`."""
        return Counts(**self._control(None))

    def _control(self, data: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + CONTROL, data=data, timeout=10) as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[S3]:
    """Run a server with the bucket `BUCKET`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    server = S3(url, {**secrets, "AWS_ENDPOINT_URL": url})
    command = [sys.executable, "-m", "tests.support.s3_server", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, cwd=REPOSITORY, stderr=output) as process:
        try:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    server.set_faults()
                    break
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
            yield server
        finally:
            process.kill()


def main() -> None:
    """Serve on the port that the first argument names."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, run_simple

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections open

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            pass

    os.environ.setdefault("AWS_ACCESS_KEY_ID", KEY)
    application = FaultyS3(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Handler)


if __name__ == "__main__":
    main()
