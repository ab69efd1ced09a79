"""A local Hugging Face Hub: the part of its API that the unmodified client needs for uploads and downloads.

It keeps everything in memory, accepts one token, requires it for writes and private repositories, and can hang in the
middle of an upload.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# The Hub stores these files, and all large ones, outside the repository's history.
LARGE = (".safetensors", ".onnx", ".png")
LARGE_BYTES = 10_000_000


@dataclass
class Repository:
    """Commits by hash, and the commits of branches and tags."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    pull_requests: int = 0

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        content = {**self.commits.get(self.refs.get(branch, ""), {}), **files}
        digest = hashlib.sha1(f"{len(self.commits)} {message} {sorted(content)}".encode()).hexdigest()
        self.commits[digest], self.refs[branch] = content, digest
        self.messages.append(message)
        return digest

    def find(self, revision: str) -> str | None:
        return self.refs.get(revision) or (revision if revision in self.commits else None)


class Hub(ThreadingHTTPServer):
    """A context manager that serves the Hub; set HF_ENDPOINT to its `url`."""

    daemon_threads = True

    def __init__(self, token: str = "hf_secret") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        # Valid tokens without write access.
        self.readers: set[str] = set()
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        # The number of large files after which the Hub hangs, and whether it hangs.
        self.most_uploads: int | None = None
        self.is_stuck = threading.Event()
        self.lock = threading.Lock()
        self.uploads = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def count(self, method: str, pattern: str) -> int:
        """The number of matching requests."""
        return sum(each == method and re.search(pattern, path) is not None for each, path in self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer("GET")

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        address = urlsplit(self.path)
        path, query = unquote(address.path), parse_qs(address.query)
        self.server.requests.append((method, path))
        if method == "PUT":
            self.take_blob(path)
            return
        body = self.body()
        if method == "POST" and not self.may_write(path):
            return
        for pattern, route in ROUTES[method]:
            if found := re.fullmatch(pattern, path):
                route(self, *found.groups(), **({"body": body, "query": query} if method == "POST" else {}))
                return
        self.send(404, {"error": f"no {method} {path}"})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    @property
    def bearer(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def may_write(self, path: str) -> bool:
        if path == "/api/validate-yaml" or self.bearer == self.server.token:
            return True
        if self.bearer in self.server.readers:
            self.send(403, {"error": "Forbidden"}, {"X-Error-Message": "you need write access"})
        else:
            message = "Invalid credentials in Authorization header"
            self.send(401, {"error": message}, {"X-Error-Message": message})
        return False

    def send(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # Writing.

    def validate(self, body: bytes, query: dict) -> None:
        self.send(200, {"errors": [], "warnings": []})

    def create(self, body: bytes, query: dict) -> None:
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or 'someone'}/{wanted['name']}"
        exists = name in self.server.repositories
        if not exists:
            repository = Repository(wanted.get("visibility") == "private" or bool(wanted.get("private")))
            repository.add("main", {".gitattributes": b"*.onnx filter=lfs\n"}, "initial commit")
            self.server.repositories[name] = repository
        self.send(409 if exists else 200, {"url": f"{self.server.url}/{name}", "name": name, "id": name})

    def preupload(self, name: str, revision: str, body: bytes, query: dict) -> None:
        repository = self.server.repositories[name]
        there = repository.commits[repository.find(revision) or repository.refs["main"]]
        files = []
        for each in json.loads(body)["files"]:
            is_large = each["path"].endswith(LARGE) or each["size"] > LARGE_BYTES
            answer = {"path": each["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
            if (content := there.get(each["path"])) is not None:
                blob = b"blob %d\0%s" % (len(content), content)  # what git hashes
                answer["oid"] = (hashlib.sha256(content) if is_large else hashlib.sha1(blob)).hexdigest()
            files.append(answer)
        self.send(200, {"files": files})

    def batch(self, name: str, body: bytes, query: dict) -> None:
        objects = []
        for each in json.loads(body)["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.server.blobs:
                answer["actions"] = {"upload": {"href": f"{self.server.url}/blobs/{each['oid']}", "header": {}}}
            objects.append(answer)
        self.send(200, {"transfer": "basic", "objects": objects})

    def take_blob(self, path: str) -> None:
        with self.server.lock:
            self.server.uploads += 1
            is_stuck = self.server.most_uploads is not None and self.server.uploads > self.server.most_uploads
        content = self.body()
        if is_stuck:
            while self.rfile.read(1):  # until the client goes away
                pass
            self.close_connection = True
            return
        digest = hashlib.sha256(content).hexdigest()
        if path != f"/blobs/{digest}":
            self.send(400, {"error": "the content does not match its hash"})
            return
        self.server.blobs[digest] = content
        self.send(200, {})
        if len(self.server.blobs) == self.server.most_uploads:
            self.server.is_stuck.set()

    def commit(self, name: str, revision: str, body: bytes, query: dict) -> None:
        repository = self.server.repositories[name]
        files, message = {}, ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        answer: dict[str, Any] = {"success": True}
        if query.get("create_pr"):
            repository.pull_requests += 1
            revision = f"refs/pr/{repository.pull_requests}"
            repository.refs[revision] = repository.refs["main"]
            answer["pullRequestUrl"] = f"{self.server.url}/{name}/discussions/{repository.pull_requests}"
        oid = repository.add(revision, files, message)
        self.send(200, {**answer, "commitOid": oid, "commitUrl": f"{self.server.url}/{name}/commit/{oid}"})

    def branch(self, name: str, branch: str, body: bytes, query: dict) -> None:
        refs = self.server.repositories[name].refs
        status = 409 if branch in refs else 200
        refs.setdefault(branch, refs["main"])
        self.send(status, {})

    def tag(self, name: str, revision: str, body: bytes, query: dict) -> None:
        refs, tag = self.server.repositories[name].refs, json.loads(body)["tag"]
        status = 409 if tag in refs else 200
        refs.setdefault(tag, refs.get(revision, revision))
        self.send(status, {})

    # Reading.

    def references(self, name: str) -> None:
        repository = self.server.repositories[name]
        tags = [{"name": ref, "ref": f"refs/tags/{ref}", "targetCommit": oid} for ref, oid in repository.refs.items()]
        self.send(200, {"branches": [], "converts": [], "tags": [each for each in tags if each["name"] != "main"]})

    def found(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and self.bearer != self.server.token):
            self.send(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        if (digest := repository.find(revision)) is None:
            self.send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return digest, repository.commits[digest]

    def info(self, name: str, revision: str | None = None) -> None:
        if found := self.found(name, revision or "main"):
            digest, files = found
            siblings = [{"rfilename": path} for path in sorted(files)]
            about = {"id": name, "modelId": name, "sha": digest, "siblings": siblings, "tags": []}
            self.send(200, {**about, "private": self.server.repositories[name].private})

    def tree(self, name: str, revision: str, folder: str | None = None) -> None:
        if found := self.found(name, revision):
            paths = [path for path in sorted(found[1]) if not folder or path.startswith(folder.strip("/") + "/")]
            lines = [{"type": "file", "path": path, "size": len(found[1][path]), "oid": "0" * 40} for path in paths]
            if lines:
                self.send(200, lines)
            else:
                self.send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def resolve(self, name: str, revision: str, path: str) -> None:
        if found := self.found(name, revision):
            digest, files = found
            commit = {"X-Repo-Commit": digest}
            if path not in files:
                self.send(404, {"error": "Entry not found"}, {**commit, "X-Error-Code": "EntryNotFound"})
                return
            content = files[path]
            self.send(200, content, {**commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'})


NAME = r"([^/]+/[^/]+)"
ROUTES: dict[str, list[tuple[str, Any]]] = {
    "POST": [
        ("/api/validate-yaml", _Handler.validate),
        ("/api/repos/create", _Handler.create),
        (f"/api/models/{NAME}/preupload/(.+)", _Handler.preupload),
        (f"/{NAME}\\.git/info/lfs/objects/batch", _Handler.batch),
        (f"/api/models/{NAME}/commit/(.+)", _Handler.commit),
        (f"/api/models/{NAME}/branch/(.+)", _Handler.branch),
        (f"/api/models/{NAME}/tag/(.+)", _Handler.tag),
    ],
    "GET": [
        (f"/api/models/{NAME}/refs", _Handler.references),
        (f"/api/models/{NAME}", _Handler.info),
        (f"/api/models/{NAME}/revision/(.+)", _Handler.info),
        (f"/api/models/{NAME}/tree/([^/]+)(/.*)?", _Handler.tree),
        (f"/{NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
    ],
}
ROUTES["HEAD"] = ROUTES["GET"]
