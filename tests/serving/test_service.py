"""serve.py with OpenAI's own client: the model's vectors, one sentence for each limit, and an orderly end."""

import asyncio
import base64
import json
import re
import shutil
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openai
import pytest
from fastapi import HTTPException, Request
from onnx import TensorProto, helper

import serve
from asterisk.serving.arguments import Settings
from asterisk.serving.requests import read_request
from asterisk.serving.service import read_body
from benchmarks import service_load
from modeling_asterisk import AsteriskModel
from tests.support.published import BACKBONE_TEXTS
from tests.support.serving import Serving, free_port, serving

# These tests start processes.
pytestmark = pytest.mark.slow

# For output_dtype int8: every dimension of a unit vector lies between them.
RANGES = np.array([[-1.0], [1.0]], dtype=np.float32).repeat(256, axis=1)
LIMITS = ("--max_body_bytes", 100_000, "--max_texts", 60, "--max_waiting", 20)

TEXTS = [text for text in BACKBONE_TEXTS if text] + [" "]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service") / "stderr.txt"


@pytest.fixture(scope="module")
def service(published: Path, log: Path) -> Iterator[Serving]:
    np.save(log.with_name("ranges.npy"), RANGES)
    with serving(published, log, *LIMITS, "--ranges", log.with_name("ranges.npy")) as started:
        yield started


@pytest.fixture(scope="module")
def model(published: Path) -> AsteriskModel:
    return AsteriskModel.from_pretrained(published).eval()


def client(service: Serving) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


def vectors(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [each.index for each in answer.data] == list(range(len(answer.data)))
    return np.array([each.embedding for each in answer.data])


def post(service: Serving, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{service.url}/v1/embeddings", body)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_floats_and_base64_are_the_models_vectors(service: Serving, model: AsteriskModel) -> None:
    create, expected = client(service).embeddings.create, model.encode(TEXTS)
    np.testing.assert_allclose(vectors(create(model="m", input=TEXTS)), expected, atol=1e-5)
    np.testing.assert_allclose(vectors(create(model="m", input=TEXTS, encoding_format="float")), expected, atol=1e-5)
    encoded: Any = create(model="m", input=TEXTS[0], encoding_format="base64").data[0].embedding
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(encoded), "<f4"), expected[0], atol=1e-5)


def test_truncated_embeddings_have_unit_length(service: Serving, model: AsteriskModel) -> None:
    answer = client(service).embeddings.create(model="m", input=TEXTS, dimensions=64)
    np.testing.assert_allclose(vectors(answer), model.encode(TEXTS, truncate_dim=64), atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "ubinary"])
def test_quantised_embeddings_are_the_models(service: Serving, model: AsteriskModel, precision: str) -> None:
    expected = model.encode(TEXTS, precision=precision, ranges=RANGES)
    more = {"output_dtype": precision}
    found = vectors(
        client(service).embeddings.create(model="m", input=TEXTS, encoding_format="float", extra_body=more)
    )
    # A value at the edge of a step may fall on either side.
    assert (found == expected).mean() > 0.99
    encoded: Any = client(service).embeddings.create(
        model="m", input=TEXTS[0], encoding_format="base64", extra_body=more
    )
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(encoded.data[0].embedding), expected.dtype), found[0])


def test_int8_without_ranges_is_refused() -> None:
    settings = Settings(file="model.onnx", name="m", dimensions=256)
    with pytest.raises(HTTPException) as refused:
        read_request(b'{"input": "a", "output_dtype": "int8"}', settings)
    assert refused.value.detail == "`output_dtype` int8 needs value ranges; start the service with --ranges."


def test_usage_counts_the_tokens_that_the_model_reads(service: Serving, model: AsteriskModel) -> None:
    limit = model.config.max_position_embeddings
    for text, tokens in (("Rain", 3), ("rain " * (limit - 2), limit), ("rain " * 3 * limit, limit)):
        usage = client(service).embeddings.create(model="m", input=text).usage
        assert usage.prompt_tokens == usage.total_tokens == tokens


def test_any_model_name_is_accepted_and_the_answer_names_the_folder(service: Serving, published: Path) -> None:
    answer = client(service).embeddings.create(model="text-embedding-3-small", input="Rain")
    assert answer.model == published.name
    assert post(service, b'{"input": "Rain"}')[1]["model"] == published.name


def test_simultaneous_requests_each_get_their_own_vectors(
    service: Serving, model: AsteriskModel, sentences: list[str]
) -> None:
    lists = [sentences[start:50] for start in range(20)]  # 50 texts, 49, …
    expected = [model.encode(texts) for texts in lists]
    create = client(service).embeddings.create
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda texts: create(model="m", input=texts), lists))
    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_allclose(vectors(answer), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"input": ["a"', "The body is not JSON: Expecting ',' delimiter: line 1 column 15 (char 14)."),
        ('["a"]', "The body must be a JSON object."),
        ('{"model": "m"}', "`input` is wrong: Field required."),
        ('{"input": null}', "`input` must be a text or a list of texts, not NoneType."),
        ('{"input": []}', "`input` is an empty list; it must hold at least one text."),
        ('{"input": ""}', "Text number 1 of `input` is empty; leave it out."),
        ('{"input": ["a", ""]}', "Text number 2 of `input` is empty; leave it out."),
        ('{"input": ["a", null]}', "`input` must hold texts, but number 2 is NoneType."),
        ('{"input": [1, 2]}', "`input` seems to hold token ids, which differ between models; send texts."),
        ('{"input": [[1, 2]]}', "`input` seems to hold token ids, which differ between models; send texts."),
        (json.dumps({"input": ["a"] * 61}), "`input` may hold at most 60 texts, not 61."),
        ('{"input": "a", "dimensions": 0}', "`dimensions` must lie between 1 and 256, not 0."),
        ('{"input": "a", "dimensions": 257}', "`dimensions` must lie between 1 and 256, not 257."),
        ('{"input": "a", "dimensions": "64"}', "`dimensions` is wrong: Input should be a valid integer."),
        (
            '{"input": "a", "dimensions": 64, "output_dtype": "int8"}',
            "The value ranges are for 256 `dimensions`; leave them out.",
        ),
        ('{"input": "a", "encoding_format": ""}', "`encoding_format` is wrong: Input should be 'float' or 'base64'."),
    ],
)  # fmt: skip
def test_a_wrong_request_is_answered_with_400_and_a_sentence(service: Serving, body: str, sentence: str) -> None:
    status, answer = post(service, body.encode())
    assert (status, answer["error"]["message"]) == (400, sentence)


def test_half_a_surrogate_pair_is_refused_by_number(service: Serving) -> None:
    for half in ("\\ud800", "a\\udc00", "\\ud800\\u0041"):
        status, answer = post(service, f'{{"input": ["a", "{half}"]}}'.encode())
        assert status == 400
        assert answer["error"]["message"].startswith("Text number 2 of `input` holds half of a surrogate pair")
    assert post(service, b'{"input": "a\xff"}')[0] == 400


def test_null_stands_for_the_default_of_every_optional_field(service: Serving, model: AsteriskModel) -> None:
    fields = dict.fromkeys(("model", "dimensions", "encoding_format", "user"))
    status, answer = post(service, json.dumps({"input": TEXTS, **fields}).encode())
    assert status == 200
    found = np.array([each["embedding"] for each in answer["data"]])
    np.testing.assert_allclose(found, model.encode(TEXTS), atol=1e-5)


def test_clients_can_list_the_model_and_probe_the_health(service: Serving, published: Path) -> None:
    assert [each.id for each in client(service).models.list()] == [published.name]
    for method in ("GET", "HEAD"):
        with urllib.request.urlopen(urllib.request.Request(f"{service.url}/health", method=method)) as answer:
            assert answer.status == 200


def test_unknown_addresses_are_refused_in_openais_form(service: Serving) -> None:
    with pytest.raises(openai.NotFoundError):
        client(service).completions.create(model="m", prompt="Rain")


def test_clients_see_the_sentence(service: Serving) -> None:
    with pytest.raises(openai.BadRequestError, match="must lie between 1 and 256, not 1000"):
        client(service).embeddings.create(model="m", input="Rain", dimensions=1000)
    with pytest.raises(openai.APIStatusError, match="A request may have at most 100,000 bytes") as error:
        client(service).embeddings.create(model="m", input="x" * 20_000_000)
    assert error.value.status_code == 413


def test_the_service_imports_neither_torch_nor_transformers(service: Serving, log: Path) -> None:
    client(service).embeddings.create(model="m", input="Rain")
    # Each interpreter begins a list of its imports: first the one that reads the flags, last the service.
    lists = re.split(r"import time: .*imported package\n", log.read_text())
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", lists[-1], re.MULTILINE))
    assert {"onnxruntime", "uvicorn"} <= imported
    assert not {"torch", "transformers"} & imported


def ask_while(service: Serving, condition: Callable[[], bool]) -> None:
    while condition():
        client(service).embeddings.create(model="m", input="Rain")


def test_a_full_queue_refuses_requests_and_sigterm_lets_the_accepted_ones_finish(
    published: Path, model: AsteriskModel, tmp_path: Path
) -> None:
    long = ["rain " * 200] * 200
    with serving(published, tmp_path / "log", "--max_waiting", 1) as service, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client(service).with_options(max_retries=9).embeddings.create, model="m", input=long)
        with pytest.raises(openai.RateLimitError, match="The queue is full, with room for 1"):
            ask_while(service, lambda: not answer.done())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        np.testing.assert_allclose(vectors(answer.result()), model.encode(long[:1]).repeat(200, axis=0), atol=1e-5)
    with pytest.raises(urllib.error.URLError):
        post(service, b"{}")


def test_many_clients_are_all_answered_and_cost_no_memory(service: Serving) -> None:
    asyncio.run(service_load.sustain(service.url, 10, 1, TEXTS))
    before = service_load.memory(service.process.pid)
    answers = asyncio.run(service_load.sustain(service.url, 10, 2, TEXTS)).answers
    assert set(answers) == {"200"}
    assert service_load.memory(service.process.pid) < before + 50_000_000


def test_every_excess_is_answered_and_vanished_clients_leave_nothing_running(service: Serving) -> None:
    """The limits of this service are far below the load."""
    found = asyncio.run(service_load.exceed_limits(service.url, max_waiting=20, slow=False))
    crowd = found.pop("more at once than may wait")
    assert set(crowd) == {"200", "429"}
    assert crowd["200"] >= 20
    assert {name: set(answers) for name, answers in found.items() if isinstance(answers, dict)} == {
        "too large a body": {"413"},
        "too many texts": {"400"},
        "no JSON": {"400"},
        "no HTTP": {"400"},
        "beside 100 bodies that do not come": {"200"},
    }
    assert found["room for all after clients that went away"]


def test_a_body_that_does_not_arrive_is_answered_with_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asterisk.serving.service.BODY_SECONDS", 0.01)

    async def receive() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(read_body(Request({"type": "http"}, receive), 10))
    assert refused.value.status_code == 408


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs serve.py in this process with wrong arguments and returns its message."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["serve.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            serve.main()
        assert exit.value.code == 2
        return capsys.readouterr().err

    return run


def test_wrong_arguments_are_refused_in_one_sentence(refusal: Any, published: Path, tmp_path: Path) -> None:
    assert refusal() == "error: --folder is missing; --help shows whole commands.\n"
    assert (
        refusal(tmp_path / "none")
        == f"error: There is no folder {tmp_path / 'none'}; give one that publish.py made.\n"
    )
    assert f"{tmp_path} has no ONNX files in onnx/" in refusal(tmp_path)
    said = refusal(published, "--form", "model_int4")
    assert "has no model file model_int4; it has model, model_fp16, model_int8, model_quantized." in said
    assert "--host must be 127.0.0.1, 0.0.0.0 or ::, not 'example.org'" in refusal(published, "--host", "example.org")
    assert "--port must be at least 1024 and at most 65535, not 80" in refusal(published, "--port", 80)
    assert "r.npy cannot be read: " in refusal(published, "--ranges", "r.npy", "--port", free_port())
    assert "--max_texts must be at least 1, not 0" in refusal(published, "--max_texts", 0)
    assert "There is no option '--workers'" in refusal(published, "--workers", 3)


def test_a_taken_port_is_refused_in_one_sentence(refusal: Any, published: Path, service: Serving) -> None:
    said = refusal(published, "--port", service.port)
    assert said == (
        f"error: 127.0.0.1:{service.port} is not available (Address already in use); give another --port.\n"
    )


def test_classifiers_and_broken_files_are_refused(refusal: Any, published: Path, tmp_path: Path) -> None:
    file = tmp_path / "onnx" / "model.onnx"
    file.parent.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(published / name, tmp_path)
    port = ("--port", free_port())
    onnx.save(graph_of("logits"), file)
    assert f"{file} is a classifier and takes input_ids; an embedding model should" in refusal(tmp_path, *port)
    onnx.save(graph_of("last_hidden_state"), file)
    assert f"{file} is a model that gives last_hidden_state and takes input_ids; an embedding model should" in refusal(
        tmp_path, *port
    )
    file.write_bytes(b"half")
    assert f"{file} cannot be loaded: " in refusal(tmp_path, *port)


def graph_of(output: str) -> onnx.ModelProto:
    """The smallest graph with an output of this name."""
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])] for name in ("input_ids", output)
    )
    graph = helper.make_graph([helper.make_node("Identity", ["input_ids"], [output])], "least", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
