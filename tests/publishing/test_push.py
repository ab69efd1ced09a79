"""The unmodified Hub client uploads a published folder over HTTP, and users load it from there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.publishing.arguments import PushArguments
from asterisk.publishing.push import check_push, list_files
from modeling_asterisk import AsteriskModel
from tests.support.hub_server import Hub
from tests.support.paths import REPOSITORY
from tests.support.published import BACKBONE_TEXTS, python_snippets

# These tests start processes.
pytestmark = pytest.mark.slow

REPO = "someone/asterisk"
TOKEN = "hf_aSecretThatNobodySees"

# A user without this repository and with an empty cache.
CONSUMER = """
import json, sys
sys.modules["modeling_asterisk"] = sys.modules["asterisk"] = None
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer, pipeline

repo, texts, snippets = sys.argv[1], *map(json.loads, sys.argv[2:])
load = dict(trust_remote_code=True)
found = {"AutoModel": AutoModel.from_pretrained(repo, **load).encode(texts)}
found["SentenceTransformer"] = SentenceTransformer(repo, **load).encode(texts)
tokenizer = AutoTokenizer.from_pretrained(repo, **load)
extract = pipeline("feature-extraction", repo, tokenizer=tokenizer, **load)
means = [extract(text, return_tensors=True, truncation=True)[0].mean(dim=0) for text in texts]
found["pipeline"] = torch.nn.functional.normalize(torch.stack(means)).numpy()
names = {}
for snippet in snippets:
    exec(snippet, names)
found["snippets"] = names["embeddings"]
print(json.dumps({name: np.asarray(each).tolist() for name, each in found.items()}))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(TOKEN) as running:
        yield running


def environment(hub: Hub, home: Path, token: str = TOKEN) -> dict[str, str]:
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **settings, "HF_HUB_OFFLINE": "0"}


def command(folder: Path, *flags: str) -> list[str]:
    return [sys.executable, "publish.py", "--output_dir", str(folder), "--repo_id", REPO, *flags]


@pytest.fixture
def push(hub: Hub, published: Path, tmp_path: Path) -> Run:
    def run(*flags: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(published, "--push", *flags),
            cwd=REPOSITORY,
            env=environment(hub, tmp_path / "home", token),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_an_interrupted_upload_resumes_and_users_load_the_pushed_model(
    hub: Hub, push: Run, published: Path, small_run: Path, tmp_path: Path
) -> None:
    # Killed in the middle: the Hub has two large files but no commit.
    hub.most_uploads = 2
    process = subprocess.Popen(
        command(published, "--push", "--tag", "v1"),
        cwd=REPOSITORY,
        env=environment(hub, tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert hub.is_stuck.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.most_uploads = None
    sent = len(hub.blobs)
    assert sent == 2
    assert hub.repositories[REPO].messages == ["initial commit"]

    hub.requests.clear()
    result = push("--tag", "v1")
    assert result.returncode == 0, result.stderr
    large = [path for path in published.rglob("*") if path.suffix in (".onnx", ".safetensors", ".png")]
    assert hub.count("PUT", "/blobs/") == len(large) - sent
    repository = hub.repositories[REPO]
    assert repository.messages == ["initial commit", "Publish asterisk v1"]
    assert repository.private
    assert repository.refs["v1"] == repository.refs["main"]
    assert repository.refs["main"] in result.stdout
    pushed = repository.commits[repository.refs["main"]]
    for path in published.rglob("*"):
        if path.is_file():
            assert pushed[path.relative_to(published).as_posix()] == path.read_bytes()

    # An existing tag is refused before anything is uploaded.
    again = push("--tag", "v1")
    assert (again.returncode, again.stderr) == (2, f"error: {REPO} already has a tag v1; give another --tag.\n")

    snippets = python_snippets((published / "README.md").read_text(encoding="utf-8"))
    assert all('revision="v1"' in snippet for snippet in snippets)
    consumer = subprocess.run(
        [sys.executable, "-c", CONSUMER, REPO, json.dumps(BACKBONE_TEXTS), json.dumps(snippets)],
        cwd=tmp_path,
        env=environment(hub, tmp_path / "empty"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert consumer.returncode == 0, consumer.stderr
    found = json.loads(consumer.stdout.splitlines()[-1])
    expected = AsteriskModel.from_pretrained(small_run / "model").encode(BACKBONE_TEXTS)
    for name in ("AutoModel", "SentenceTransformer", "pipeline"):
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)
    assert len(snippets) == 4
    assert np.shape(found["snippets"]) == (4, 256)


def test_a_refused_token_gives_one_sentence_without_the_token(hub: Hub, push: Run, tmp_path: Path) -> None:
    hub.readers.add("hf_mayOnlyRead")
    for token, status in (("hf_unknownToTheHub", 401), ("hf_mayOnlyRead", 403)):
        result = push(token=token)
        assert result.returncode == 2
        assert result.stderr.splitlines()[-1] == (
            f"error: The Hub refuses to write to {REPO} ({status}); give a token with write access in HF_TOKEN or "
            "with `hf auth login`."
        )
        assert len(result.stderr.splitlines()) == 1
        assert token not in result.stdout + result.stderr
        for path in (tmp_path / "home").rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), path
    assert not hub.repositories


def test_pull_requests_and_branches_do_not_change_main(hub: Hub, push: Run) -> None:
    assert push("--public", "--create_pr").returncode == 0
    repository = hub.repositories[REPO]
    before = repository.refs["main"]
    result = push("--revision", "next")
    assert result.returncode == 0, result.stderr
    assert not repository.private
    assert repository.pull_requests == 1
    assert repository.refs["main"] == before
    assert "model.safetensors" in repository.commits[repository.refs["next"]]


def test_a_dry_run_lists_the_files_and_sends_nothing(hub: Hub, push: Run, published: Path) -> None:
    result = push("--dry_run")
    assert result.returncode == 0, result.stderr
    assert not hub.requests
    for path in published.rglob("*"):
        assert (
            not path.is_file()
            or f"{path.stat().st_size:,}  {path.relative_to(published).as_posix()}\n" in result.stdout
        )


def test_incomplete_folders_and_invalid_names_are_refused(published: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="holds no SHA256SUMS"):
        list_files(tmp_path / "bare")
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "LICENSE").write_text("mine")
    (changed / "SHA256SUMS").write_text("0" * 64 + "  LICENSE\n")
    with pytest.raises(UserError, match="LICENSE has changed"):
        list_files(changed)
    (changed / "SHA256SUMS").write_text("")
    with pytest.raises(UserError, match="LICENSE is not listed"):
        list_files(changed)
    for repository in ("asterisk", "some one/asterisk", "a/b/c", ""):
        with pytest.raises(UserError, match="must have the form owner/name"):
            check_push(PushArguments(repo_id=repository))
    with pytest.raises(UserError, match="give either --tag or --create_pr"):
        check_push(PushArguments(repo_id=REPO, tag="v1", create_pr=True))
