"""The demo page in a real browser shows what Python computes from the same files, without a network."""

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from transformers import AutoTokenizer

from asterisk.core.vectors import unit
from asterisk.evaluation.zero_shot import TEMPLATES
from asterisk.models.onnx import exit_file
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.onnx_export import FULL, SMALLEST, write_onnx_files
from tests.support.chromium import Chromium
from tests.support.paths import REPOSITORY
from tests.support.published import exits_folder, head_folder

# These tests start processes.
pytestmark = pytest.mark.slow

SOURCES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "build.js",
    "page.js",
    "index.html",
    "style.css",
    "README.md",
)
TEXTS = ["A man is playing a guitar.", "Schnee fällt auf Zürich 東京!", "word, " * 200, "Someone makes music."]
UNREACHABLE = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|network")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def site(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `npm run build`, with the small student as its model and a small head."""
    if not (npm := shutil.which("npm")):
        pytest.skip("npm is absent")
    folder = tmp_path_factory.mktemp("demo")
    for name in SOURCES:
        shutil.copy(REPOSITORY / "demo" / name, folder)
    shutil.copytree(REPOSITORY / "demo" / "screenshots", folder / "screenshots")
    install = [npm, "ci", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0"]
    result = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if result.returncode and UNREACHABLE.search(result.stderr):
        pytest.skip("the npm registry cannot be reached")
    assert result.returncode == 0, result.stderr
    result = subprocess.run([npm, "run", "build"], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (folder / "dist" / "model").symlink_to(published)
    head = head_folder(folder)
    write_onnx_files(load_checkpoint(head), head / "onnx", compact=True)
    head.rename(folder / "dist" / "head")
    exits = exits_folder(folder)
    write_onnx_files(load_checkpoint(exits), exits / "onnx", compact=True)
    exits.rename(folder / "dist" / "exits")
    return folder / "dist"


@pytest.fixture
def server(site: Path) -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(site)))
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture(scope="module")
def browser(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not (program := shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("Chromium is absent")
    with Chromium(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


def open_page(browser: Chromium, server: ThreadingHTTPServer, **parameters: str) -> None:
    browser.open(f"http://127.0.0.1:{server.server_port}/?{urllib.parse.urlencode(parameters)}")


def results(browser: Chromium, section: str) -> dict[str, float]:
    """Wait for the rows of a section; return their names and unrounded scores."""
    rows = f"[...document.querySelectorAll('#{section} .results li')]"
    browser.wait_for(f"{rows}.length > 0")
    return dict(browser.evaluate(f"{rows}.map((row) => [row.firstChild.textContent, +row.lastChild.value])"))


def outputs(folder: Path, texts: list[str], name: str, file: str) -> np.ndarray:
    """Run an ONNX file on the texts, one at a time: (texts, dimensions or labels)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / "onnx" / file)
    batches = [dict(tokenizer([text], truncation=True, return_tensors="np")) for text in texts]
    return np.concatenate([session.run([name], batch)[0] for batch in batches])


@pytest.mark.parametrize(
    ("dtype", "file", "tolerance"),
    # Rounding to int8 may differ between processors.
    [("fp32", FULL, 1e-5), ("int8", SMALLEST, 1e-3)],
)
def test_embeddings_are_those_of_python(
    browser: Chromium, server: ThreadingHTTPServer, published: Path, dtype: str, file: str, tolerance: float
) -> None:
    open_page(browser, server, dtype=dtype)
    results(browser, "zero-shot")
    expected = outputs(published, TEXTS, "sentence_embedding", file)
    for text, vector in zip(TEXTS, expected, strict=True):
        show_embedding(browser, text)
        numbers = json.loads(f"[{browser.evaluate('numbers.textContent')}]")
        np.testing.assert_allclose(numbers, vector, atol=tolerance)


def test_scores_are_cosines(browser: Chromium, server: ThreadingHTTPServer, published: Path) -> None:
    labels = ["music", "weather"]
    fields = {"query": TEXTS[0], "lines": "\n".join(TEXTS), "text": TEXTS[3], "labels": ", ".join(labels)}
    open_page(browser, server, dtype="fp32", second=TEXTS[3], first=TEXTS[0], **fields)
    scores = results(browser, "zero-shot")
    expected = outputs(published, TEXTS, "sentence_embedding", FULL)
    prompts = [template.format(label) for label in labels for template in TEMPLATES]
    centres = outputs(published, prompts, "sentence_embedding", FULL).reshape(2, len(TEMPLATES), -1).mean(axis=1)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    np.testing.assert_allclose([scores[label] for label in labels], centres @ expected[3], atol=1e-5)

    found = results(browser, "search")
    assert next(iter(found)) == TEXTS[0]
    np.testing.assert_allclose([found[text.strip()] for text in TEXTS], expected @ expected[0], atol=1e-5)
    similarity = browser.evaluate("+document.querySelector('#similarity data').value")
    assert similarity == pytest.approx(float(expected[0] @ expected[3]), abs=1e-5)


def show_embedding(browser: Chromium, text: str) -> None:
    """Replace the first sentence as a keyboard would and wait for the embedding."""
    browser.evaluate("numbers.textContent = ''; first.focus(); first.select()")
    browser.call("Input.insertText", text=text)
    browser.wait_for("numbers.textContent")


def test_the_page_works_offline_after_loading(browser: Chromium, server: ThreadingHTTPServer) -> None:
    open_page(browser, server)
    results(browser, "head")
    fetched = browser.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)")
    assert set(fetched) == {f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()
    show_embedding(browser, "Nobody has typed this before.")
    assert browser.evaluate("parseFloat(document.querySelector('#speed').textContent)") > 0
    assert re.fullmatch(r"[\d.]+ MB \+ [\d.]+ MB runtime", browser.evaluate("size.textContent"))


def test_head_gives_its_probabilities(browser: Chromium, server: ThreadingHTTPServer, site: Path) -> None:
    open_page(browser, server, headed=TEXTS[0])
    logits = outputs(site / "head", TEXTS[:1], "logits", SMALLEST)[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    found = results(browser, "head")
    np.testing.assert_allclose([found[name] for name in ("music", "weather", "other")], expected, atol=1e-3)


def test_the_dial_changes_depth_and_dimensions(browser: Chromium, server: ThreadingHTTPServer, site: Path) -> None:
    open_page(browser, server, model="exits", first=TEXTS[0])
    browser.wait_for("numbers.textContent")
    for layers, file in ((1, exit_file(1)), (0, exit_file(0)), (2, SMALLEST)):
        browser.evaluate(f"numbers.textContent = ''; layers.value = {layers}; dimensions.value = 32")
        browser.evaluate("document.querySelector('#dial').dispatchEvent(new Event('change'))")
        browser.wait_for("numbers.textContent")
        expected = outputs(site / "exits", TEXTS[:1], "sentence_embedding", file)[0]
        numbers = json.loads(f"[{browser.evaluate('numbers.textContent')}]")
        np.testing.assert_allclose(numbers, expected, atol=1e-3)


def test_fewer_dimensions_are_the_first_ones(browser: Chromium, server: ThreadingHTTPServer, published: Path) -> None:
    open_page(browser, server, dtype="fp32", first=TEXTS[0])
    browser.wait_for("numbers.textContent")
    browser.evaluate("numbers.textContent = ''; dimensions.value = 64")
    browser.evaluate("document.querySelector('#dial').dispatchEvent(new Event('change'))")
    browser.wait_for("numbers.textContent")
    expected = unit(outputs(published, TEXTS[:1], "sentence_embedding", FULL)[:, :64])[0]
    numbers = json.loads(f"[{browser.evaluate('numbers.textContent')}]")
    np.testing.assert_allclose(numbers, expected, atol=1e-5)
    assert browser.evaluate("setting.textContent") == "256 bytes a vector"


def test_a_missing_model_gives_instructions(browser: Chromium, server: ThreadingHTTPServer) -> None:
    open_page(browser, server, model="elsewhere")
    browser.wait_for("document.querySelector('#status').className === 'wrong'")
    said = browser.evaluate("document.querySelector('#status').textContent")
    assert f"from http://127.0.0.1:{server.server_port}/elsewhere/ (" in said
    assert "answered 404" in said
    assert "publish.py" in said
    assert "?model=URL" in said


def test_fits_a_phone_and_names_every_field(browser: Chromium, server: ThreadingHTTPServer) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    open_page(browser, server, lines="word" * 60)
    results(browser, "head")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert browser.evaluate("[...document.querySelectorAll('input, textarea')].every((field) => field.labels.length)")
