"""An embeddings API teaches over real HTTP as well as the model behind it, despite every temporary fault."""

import base64
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openai._base_client
import pytest

import train_distill
from asterisk.core.errors import UserError
from asterisk.teachers.api import EmbeddingsAPITeacher
from asterisk.teachers.arguments import TeacherArguments
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.teacher import load_teacher

KEY = "sk-the-key-that-nobody-may-see"


class API(ThreadingHTTPServer):
    """Answers /v1/embeddings with a teacher's vectors, after the faults that a test lists."""

    daemon_threads = True

    def __init__(self, teacher: SentenceTransformerTeacher):
        super().__init__(("127.0.0.1", 0), Handler)
        self.teacher = teacher
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        # Each request takes the next one; "always" is one that stays.
        self.faults: list[str] = []
        self.always = ""
        self.random = np.random.default_rng(0)
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.waiting = self.most_waiting = 0
        # How a server refuses a batch of more texts, if it does.
        self.limit, self.limit_status, self.limit_message = 0, 413, ""

    def handle_error(self, *_: object) -> None:
        """Stay silent about clients that hung up."""


class Handler(BaseHTTPRequestHandler):
    server: API
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        api = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with api.lock:
            api.times.append(time.monotonic())
            api.requests.append(request)
            fault = api.always or (api.faults.pop(0) if api.faults else "")
            api.waiting += 1
            api.most_waiting = max(api.most_waiting, api.waiting)
        try:
            self._answer(request, fault)
        finally:
            with api.lock:
                api.waiting -= 1

    def _answer(self, request: dict[str, Any], fault: str) -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            # Some services quote the key.
            return self._refuse(401, f"Incorrect API key provided: {self.headers['Authorization']}.")
        if request["model"] != "minilm" or self.path != "/v1/embeddings":
            return self._refuse(404, f"The model {request['model']} does not exist.")
        if fault.isdigit():
            return self._refuse(int(fault), f"Fault {fault} for {KEY}.")
        if fault == "drop":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if fault == "slow":
            time.sleep(5)
        count = len(request["input"])
        if self.server.limit and count > self.server.limit:
            return self._refuse(self.server.limit_status, self.server.limit_message.format(count))
        if fault == "no base64" and request["encoding_format"] != "float":
            return self._refuse(422, "encoding_format: Input should be 'float'")
        vectors = self._vectors(request["input"], request.get("dimensions"), fault)
        numbers = fault == "float" or request["encoding_format"] == "float"
        items: list[dict[str, Any]] = [
            {
                "object": "embedding",
                "index": index,
                "embedding": row.tolist() if numbers else base64.b64encode(row.tobytes()).decode(),
            }
            for index, row in enumerate(vectors)
        ]
        if fault == "shuffled":
            items.reverse()
        if fault == "no index":
            for item in items:
                del item["index"]
        if fault == "same index":
            items[-1]["index"] = 0
        if fault == "one less":
            items.pop()
        body = json.dumps({"object": "list", "data": items, "model": "minilm"}).encode()
        return self._send(200, body[: len(body) // 2] if fault == "truncated" else body)

    def _vectors(self, texts: list[str], dimensions: int | None, fault: str) -> np.ndarray:
        with self.server.lock:
            vectors = self.server.teacher.encode(texts)[0][:, :dimensions] * 3
        if fault == "nan":
            vectors[0, 0] = np.nan
        if fault == "noise":
            vectors += self.server.random.standard_normal(vectors.shape) * 3e-5
        if fault == "zero":
            vectors[0] = 0
        return vectors[:, :-1] if fault == "narrow" else vectors

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"error": {"message": message, "type": "x"}}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api(teacher: SentenceTransformerTeacher, monkeypatch: pytest.MonkeyPatch) -> Iterator[API]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    server = API(teacher)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def key_is_never_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text


@pytest.mark.slow
def test_vectors_are_those_of_the_model_behind_the_api_whatever_goes_wrong(
    api: API, teacher: SentenceTransformerTeacher, sentences: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    texts = sentences[:5900:50]
    remote = EmbeddingsAPITeacher("minilm", api.url, batch_size=8, timeout=4)
    api.faults = ["429", "500", "drop", "slow", "503", "truncated", "same index", "one less", "nan"]
    api.faults += ["shuffled", "float"]
    faults = len(api.faults)
    asked = len(api.requests)
    vectors, truncated = remote.encode(texts)
    np.testing.assert_allclose(vectors, teacher.encode(texts)[0], atol=1e-5)
    assert (vectors.dtype, vectors.shape, truncated) == (np.float32, (len(texts), 384), 0)
    assert not api.faults
    # Two of the faults are answers that can be used.
    assert len(api.requests) - asked == -(-len(texts) // 8) + faults - 2
    assert max(len(request["input"]) for request in api.requests) == 8
    assert 1 < api.most_waiting <= 8
    assert KEY not in "".join(capfd.readouterr())


def test_retry_after_is_waited_for(api: API) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url)
    api.faults = ["429"]
    remote.encode(["Rain."])
    assert 1.0 <= api.times[-1] - api.times[-2] < 3.0


def test_long_texts_are_sent_in_smaller_batches(api: API) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url)
    remote.encode(["word " * 8_000] * 9)
    assert sorted(len(request["input"]) for request in api.requests[1:]) == [3, 3, 3]


@pytest.mark.parametrize(
    ("status", "limit", "message", "refusals"),
    [
        (413, 32, "Validation: batch size {} > maximum allowed batch size 32", 1),
        (400, 10, "<400> InvalidParameter: Value error, batch size is invalid, it should not be larger than 10.", 1),
        (422, 32, "Unprocessable", 2),
        (413, 10, "Payload too large", 4),
    ],
    ids=["text-embeddings-inference", "DashScope", "only a status", "halved four times"],
)
@pytest.mark.slow
def test_batch_limit_is_learned_from_the_refusal(
    api: API,
    teacher: SentenceTransformerTeacher,
    status: int,
    limit: int,
    message: str,
    refusals: int,
) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url, requests_in_flight=1)
    api.limit, api.limit_status, api.limit_message = limit, status, message
    texts = [f"Text {number}." for number in range(150)]
    np.testing.assert_allclose(remote.encode(texts)[0], teacher.encode(texts)[0], atol=1e-5)
    sizes = [len(request["input"]) for request in api.requests[1:]]
    assert len([size for size in sizes if size > limit]) == refusals
    asked = len(api.requests)
    remote.encode(texts)
    assert max(len(request["input"]) for request in api.requests[asked:]) <= limit


@pytest.mark.slow
def test_concurrent_refusals_lose_no_text(api: API, teacher: SentenceTransformerTeacher) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url, batch_size=16)
    api.limit, api.limit_status, api.limit_message = 3, 413, "Payload too large"
    texts = [f"Text {number}." for number in range(200)]
    np.testing.assert_allclose(remote.encode(texts)[0], teacher.encode(texts)[0], atol=1e-5)


def test_batch_size_is_the_given_one(api: API) -> None:
    remote = load_teacher(TeacherArguments("api:minilm", base_url=api.url, api_batch_size=10))
    api.limit, api.limit_status = 10, 400
    remote.encode(["Rain."] * 25)
    assert sorted(len(request["input"]) for request in api.requests) == [1, 5, 10, 10]
    with pytest.raises(UserError, match="batch size must be at least 1, not -1"):
        load_teacher(TeacherArguments("api:minilm", base_url=api.url, api_batch_size=-1))


def test_refusal_of_a_single_text_is_final(api: API) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url)
    api.always = "413"
    with pytest.raises(UserError, match="status 413"):
        remote.encode(["Rain.", "Snow.", "Hail.", "Sun."])
    assert [len(request["input"]) for request in api.requests[1:]] == [4, 2, 1]


def test_items_without_index_go_by_their_place(api: API, teacher: SentenceTransformerTeacher) -> None:
    api.always = "no index"
    texts = ["Rain.", "Snow.", "Hail."]
    remote = EmbeddingsAPITeacher("minilm", api.url)
    np.testing.assert_allclose(remote.encode(texts)[0], teacher.encode(texts)[0], atol=1e-5)


def test_server_that_refuses_base64_is_asked_for_floats(api: API, teacher: SentenceTransformerTeacher) -> None:
    api.always = "no base64"
    remote = EmbeddingsAPITeacher("minilm", api.url)
    np.testing.assert_allclose(remote.encode(["Rain."])[0], teacher.encode(["Rain."])[0], atol=1e-5)
    assert [request["encoding_format"] for request in api.requests] == ["base64", "float", "float"]


@pytest.mark.parametrize(
    ("tokenizer", "message", "requests"),
    [
        ("teacher", "api:minilm has no tokenizer to give its student", 0),
        ("extended:50000", "api:minilm has no tokenizer to give its student", 0),
        ("trained:many", "at least 258, not 'many'", 1),
        ("gpt2:nowhere", "nowhere holds neither encoder.json", 1),
    ],
)
def test_tokenizer_that_cannot_be_had_is_refused_before_texts_are_paid_for(
    api: API,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tokenizer: str,
    message: str,
    requests: int,
) -> None:
    (tmp_path / "texts.txt").write_text("Rain.\nSnow.\nHail.\n")
    flags = ["--teacher", "api:minilm", "--base_url", api.url, "--corpus", str(tmp_path / "texts.txt")]
    flags += ["--tokenizer", tokenizer, "--output_dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["train_distill.py", *flags])
    with pytest.raises(SystemExit, match="2"):
        train_distill.main()
    assert message in capsys.readouterr().err
    # One request at most: the fixed sentence.
    assert len(api.requests) == requests


def test_no_texts_give_no_vectors(api: API) -> None:
    assert EmbeddingsAPITeacher("minilm", api.url).encode([])[0].shape == (0, 384)


def test_shortened_vectors_are_asked_for_and_checked(api: API, teacher: SentenceTransformerTeacher) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url, dimensions=64)
    assert remote.dimension == 64
    whole = teacher.encode(["Rain."])[0][:, :64]
    np.testing.assert_allclose(remote.encode(["Rain."])[0], whole / np.linalg.norm(whole), atol=1e-5)
    with pytest.raises(UserError, match=r"shape \(384,\) instead of 500"):
        EmbeddingsAPITeacher("minilm", api.url, dimensions=500)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", r"status 401 .*set the environment variable OPENAI_API_KEY to a valid key"),
        ("403", r"status 403 .*the key in the environment variable OPENAI_API_KEY lacks permission for this"),
        ("400", r"status 400 \(Fault 400 for \*\*\*\)"),
        ("429", r"status 429 .*check the account's rate limit and quota"),
        ("500", r"status 500 .*try again later"),
        ("drop", "could not be reached, 3 times in a row"),
        ("slow", "did not answer in time, 3 times in a row"),
        ("truncated", "something other than the 1 requested vectors"),
        ("one less", "indices are not 0 to 0"),
        ("narrow", r"shape \(383,\) instead of 384"),
        ("nan", "not finite, or zero"),
        ("zero", "not finite, or zero"),
    ],
)
def test_fault_that_stays_is_one_sentence_without_the_key(api: API, fault: str, message: str) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url, timeout=0.3 if fault == "slow" else 10, max_retries=2)
    api.always = fault
    asked = len(api.requests)
    with pytest.raises(UserError, match=message) as error:
        remote.encode(["Rain."])
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(api.requests) - asked == (1 if fault in ("400", "401", "403") else 3)


def test_wrong_or_missing_key_model_and_url_are_refused(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="check the model's name, other, and the base URL"):
        EmbeddingsAPITeacher("other", api.url)
    with pytest.raises(UserError, match="without a user or key in it") as error:
        EmbeddingsAPITeacher("minilm", api.url.replace("//", f"//me:{KEY}@"))
    assert KEY not in str(error.value)
    monkeypatch.setenv("MY_KEY", KEY + "-wrong")
    with pytest.raises(UserError, match=r"status 401 .*the environment variable MY_KEY to a valid key") as error:
        EmbeddingsAPITeacher("minilm", api.url, key_variable="MY_KEY")
    assert KEY not in str(error.value)
    monkeypatch.setenv("MY_KEY", KEY + "\nX: y")
    with pytest.raises(UserError, match="characters that no API key has"):
        EmbeddingsAPITeacher("minilm", api.url, key_variable="MY_KEY")
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="no API key in the environment variable MY_KEY"):
        EmbeddingsAPITeacher("minilm", key_variable="MY_KEY")


def test_fingerprint_knows_the_model_and_neither_the_key_nor_small_differences(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = EmbeddingsAPITeacher("minilm", api.url)
    assert remote.fingerprint == EmbeddingsAPITeacher("minilm", api.url + "/").fingerprint
    assert KEY not in f"{vars(remote) | {'_key': ''}}{remote}{remote.name}"
    changed = EmbeddingsAPITeacher("minilm", api.url, dimensions=384)
    assert changed.fingerprint != remote.fingerprint
    api.always = "noise"
    fingerprints = [EmbeddingsAPITeacher("minilm", api.url).fingerprint for _ in range(50)]
    assert fingerprints.count(remote.fingerprint) >= 49
    monkeypatch.setattr("asterisk.teachers.api.PROBE", "As if the model were another.")
    assert EmbeddingsAPITeacher("minilm", api.url).fingerprint != remote.fingerprint
