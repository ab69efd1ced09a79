"""Security limits of the code that users load and run, checked in its source and in the files that it writes."""

import ast
import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from packaging.utils import canonicalize_name
from transformers.dynamic_module_utils import get_class_from_dynamic_module

import publish
import train_distill
import train_head
from asterisk.core.checksums import write_checksums
from asterisk.distillation.arguments import DistillationArguments
from asterisk.distillation.encoder_student import load_encoder_student
from asterisk.heads.head_model import load_classifier
from asterisk.models.checkpoints import load_asterisk
from asterisk.models.load import load_encoder
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.training_run import read_training_run
from asterisk.teachers import cluster
from benchmarks import sbom
from modeling_asterisk import AsteriskModel
from tests.support.flags import distillation_flags
from tests.support.labelled import topic_rows, write_tiny_asterisk
from tests.support.paths import REPOSITORY, SECRETS, RunScript, soak

HUB_FILES = sorted([*(REPOSITORY / "modeling_asterisk").glob("*.py"), REPOSITORY / "asterisk/publishing/handler.py"])
PROJECT = sorted(
    path for pattern in ("*.py", "asterisk/**/*.py", "modeling_asterisk/*.py") for path in REPOSITORY.glob(pattern)
)
# Apart from torch and transformers, only modules of the standard library that define types or copy objects.
HARMLESS = {"collections", "contextlib", "copy", "dataclasses", "typing", "torch", "transformers"}
# Names that open files or sockets, or run text as code.
FORBIDDEN_NAMES = {"open", "exec", "eval", "compile", "__import__", "input", "breakpoint", "globals"}
FORBIDDEN_ATTRIBUTES = {"load", "loads", "system", "popen", "socket", "urlopen", "hub", "cpp_extension", "package"}
BASH = re.compile(r"```bash\n(.*?)```", re.DOTALL)
SUITE = "tests/modeling/transformers_suite"
# Modules that turn bytes into arbitrary objects.
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that a module imports, without its siblings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}


@pytest.mark.parametrize("path", HUB_FILES, ids=name)
def test_code_on_the_hub_neither_opens_files_nor_runs_text(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(imported(tree)) <= HARMLESS
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & FORBIDDEN_NAMES
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & FORBIDDEN_ATTRIBUTES


@pytest.mark.parametrize("path", PROJECT, ids=name)
def test_no_code_unpickles_or_starts_a_shell(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(imported(tree)) & UNPICKLERS
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = keywords(call)
        assert given.get("shell") is not True
        assert given.get("allow_pickle") is not True
        called = ast.unparse(call.func)
        assert called not in ("torch.load", "yaml.load", "eval", "exec", "os.system"), called


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", PROJECT, ids=name)
def test_weights_are_read_and_written_only_as_safetensors(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function, call in called(tree):
        assert function not in ("torch.save", "pickle.dump", "pickle.dumps", "joblib.dump"), function
        given = keywords(call)
        assert given.get("safe_serialization") is not False
        assert given.get("use_safetensors") is not False
        assert given.get("weights_only") is not False
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in strings if re.fullmatch(r"[\w./*-]*\.(bin|pt|pth|pkl|ckpt)", text)] or path.name in (
        "resolve.py",  # measures the size of a baseline's weights
        "onnx_encoder.py",  # OpenVINO's .bin holds plain numbers
        "verification.py",
    )


@pytest.mark.slow
def test_runs_leave_no_pickles_except_for_resuming(small_run: Path, published: Path) -> None:
    pickles = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
    found = [
        path.relative_to(folder).as_posix()
        for folder in (small_run, published)
        for path in folder.rglob("*")
        if path.suffix in pickles
    ]
    # Checkpoints of a training are read by torch's restricted reader, which calls nothing (test_loop.py).
    assert found
    assert all(
        re.fullmatch(r"checkpoints/step-\d+/(optimizer(_\d)?\.bin|random_states_\d+\.pkl)", name) for name in found
    )


@soak
def test_no_secret_is_in_the_output_or_files_of_commands(
    small_run: Path, published: Path, tmp_path: Path, run_script: RunScript
) -> None:
    # One command fails with a sentence, one with a traceback.
    failed = run_script(
        *(
            "train_distill.py",
            "--config",
            "recipes/demo.yaml",
            "--teacher",
            "api:x",
            "--base_url",
            "http://127.0.0.1:9/v1",
        ),
        *("--output_dir", tmp_path / "run"),
    )
    assert failed.returncode == 2, failed.stderr
    assert "could not be reached" in failed.stderr
    (tmp_path / "texts.txt").write_text("One apple.\n")
    crashed = run_script(
        "-c", "import asterisk.distillation.student, train_distill; train_distill.main.__wrapped__.missing"
    )
    assert "Traceback" in crashed.stderr
    (tmp_path / "said").write_text(failed.stdout + failed.stderr + crashed.stdout + crashed.stderr)
    looked_at = 0
    for folder in (small_run.parent, published.parent, tmp_path):
        for path in folder.rglob("*"):
            if path.is_file():
                looked_at += 1
                content = path.read_bytes()
                assert not [secret for secret in SECRETS.values() if secret.encode() in content], path
    assert looked_at > 30


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a server that serves texts.txt, whatever the password or signature."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/texts.txt")
            content = "\n".join(f"{text} {number}" for number, (text, _) in enumerate(topic_rows(300))).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_no_password_or_signature_of_a_url_is_in_the_output_or_files_of_commands(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    secrets = ["thePassw0rd", "theS1gnature", "aLaterS1gnature", "hf_" + "theTokenOfSomeone" * 2]
    password, signature, later, token = secrets

    def source(name: str, signature: str) -> str:
        return f"http://me:{password}@{address}/{name}?X-Amz-Expires=60&X-Amz-Signature={signature}"

    def call(program: ModuleType, *flags: object) -> int:
        monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, flags)])
        try:
            program.main()
        except SystemExit as exit:
            return int(exit.code or 0)
        return 0

    run = tmp_path / "run"
    texts = [f"{text} {number}" for number, (text, _) in enumerate(topic_rows(300))]
    (tmp_path / "vectors.txt").write_text("\n".join(texts))
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((300, 32)).astype(np.float32))
    flags = {**distillation_flags(tmp_path, run), "--store_dir": f"memory://key:{password}@bucket/{tmp_path.name}"}

    def distil(name: str, signature: str, output: Path) -> int:
        changed = {**flags, "--corpus": source(name, signature), "--output_dir": output}
        return call(train_distill, *itertools.chain(*changed.items()))

    assert distil("texts.txt", signature, run) == 0
    # A later signature refers to the same text, another path to another text.
    assert distil("texts.txt", later, run) == 0
    said = [capfd.readouterr()]
    assert distil("others.txt", signature, run) == 2
    assert distil("others.txt", signature, tmp_path / "others") == 2
    said.append(capfd.readouterr())
    told = f"http://{address}/texts.txt?X-Amz-Expires=…&X-Amz-Signature=…"
    assert f'was made with corpus = ["{told}"]' in said[-1].err
    assert json.loads((run / "run.json").read_text())["recipe"]["corpus"] == [told]
    (named,) = (each.name for each in read_training_run(run / "model").sources)
    assert named == told
    push = ("--output_dir", tmp_path / "hub", "--repo_id", f"https://me:{token}@huggingface.co/me/demo")
    assert call(publish, run / "model", *push) == 2
    assert call(publish, run / "model", "--output_dir", tmp_path / "hub", "--repo_id", token) == 2
    head = (
        "--model",
        run / "model",
        "--train_file",
        source("others.csv", signature),
        "--output_dir",
        tmp_path / "head",
    )
    assert call(train_head, *head) == 2
    cluster_flags = ("--corpus", source("texts.txt", signature), "--teacher", "x", "--store_dir", flags["--store_dir"])
    assert call(cluster, *cluster_flags, "--corpus_dir", tmp_path / "corpus") == 2
    said.append(capfd.readouterr())
    assert len(said[-1].err.splitlines()) == 4
    (tmp_path / "said").write_text("".join(f"{each.out}{each.err}" for each in said) + caplog.text)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path


def test_commands_run_no_code_of_a_given_model(tmp_path: Path) -> None:
    """The code in the folder creates a folder when it is imported, as `trust_remote_code=True` would do."""
    marker = tmp_path / "was run"
    model = write_tiny_asterisk(tmp_path / "model")
    for file in (model / "configuration_asterisk.py", model / "modeling_asterisk.py"):
        file.write_text(f"import os\nos.makedirs({str(marker)!r}, exist_ok=True)\n{file.read_text()}")
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["modeling_asterisk.AsteriskModel", None]}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    expected = load_asterisk(model, model, AsteriskModel)[0].encode(["soup goal"])
    np.testing.assert_allclose(load_encoder(str(model)).encode(["soup goal"]), expected, atol=1e-6)
    assert load_checkpoint(model).output(["soup goal"]).shape == (1, 16)
    assert load_classifier(str(model), ["a", "b"], "single_label_classification")[0].num_labels == 2
    arguments = DistillationArguments(encoder=str(model), simcse_weight=1.0)
    assert isinstance(load_encoder_student(arguments)[0], AsteriskModel)
    assert not marker.exists()
    # Saving the model publishes the code of this repository.
    again = tmp_path / "again"
    load_asterisk(model, model, AsteriskModel)[0].save_pretrained(again)
    for own in (REPOSITORY / "modeling_asterisk").glob("*_asterisk.py"):
        assert (again / own.name).read_bytes() == own.read_bytes()
    get_class_from_dynamic_module("modeling_asterisk.AsteriskModel", str(model))
    assert marker.exists()


@pytest.mark.slow
def test_the_documented_commands_notice_a_changed_published_folder(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (
        block for block in BASH.findall((REPOSITORY / "docs" / "publish.md").read_text()) if "SHA256SUMS" in block
    )
    lines = block.strip().replace("python ", f"{sys.executable} ").splitlines()
    card = (published / "README.md").read_text(encoding="utf-8")
    (card_line,) = (line for line in card.splitlines() if line.startswith("sha256sum"))
    for link in ("publish.py", "asterisk", "modeling_asterisk"):
        (tmp_path / link).symlink_to(REPOSITORY / link)
    folder = tmp_path / "release" / "demo"
    shutil.copytree(published, folder)

    def noticed() -> list[bool]:
        results = [subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True) for line in lines]
        by_card = subprocess.run(card_line, shell=True, cwd=folder, capture_output=True)
        assert (by_card.returncode == 0) == (results[0].returncode == 0)
        return [result.returncode != 0 or "<" in result.stdout for result in results]

    assert noticed() == [False, False, False]
    (folder / "added.py").write_text("import os\n")
    assert noticed() == [False, True, False]
    (folder / "added.py").unlink()
    with (folder / "modeling_asterisk.py").open("a") as file:
        file.write("import os\n")
    assert noticed() == [True, True, True]
    # The third line notices a change of the checksums, too.
    write_checksums(folder)
    assert noticed() == [False, False, True]


def test_the_release_runs_the_code_of_this_repository() -> None:
    for file in (REPOSITORY / "release").rglob("*_asterisk.py"):
        assert file.read_bytes() == (REPOSITORY / "modeling_asterisk" / file.name).read_bytes(), file


@pytest.mark.parametrize(
    ("pins", "lock"),
    [("requirements/constraints.txt", "requirements/lock.txt"), (f"{SUITE}/oldest.in", f"{SUITE}/oldest.txt")],
    ids=["development", "oldest transformers"],
)
def test_the_set_up_knows_the_hashes_of_all_packages_but_torch(pins: str, lock: str) -> None:
    def pinned(file: str, pattern: str) -> set[tuple[str, str]]:
        found = re.findall(pattern, (REPOSITORY / file).read_text(), re.MULTILINE)
        return {(canonicalize_name(package), version) for package, version in found}

    wanted = {(package, version) for package, version in pinned(pins, r"^([\w.-]+)==(\S+)$") if package != "torch"}
    # pip refuses a line without a hash, which has no backslash.
    assert pinned(lock, r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}\b") == wanted, "Run `make lock`."


def test_the_bill_of_materials_is_complete_and_valid() -> None:
    bill = json.loads(sbom.FILE.read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    pins = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / "requirements" / "constraints.txt").read_text(), re.MULTILINE)
    )
    listed = {each["name"]: each["version"].partition("+")[0] for each in bill["components"]}
    assert listed == {canonicalize_name(package): version for package, version in pins.items()}
    references = {each["bom-ref"] for each in [*bill["components"], bill["metadata"]["component"]]}
    assert len(references) == len(pins) + 1
    assert {each["ref"] for each in bill["dependencies"]} == references
    assert {ref for each in bill["dependencies"] for ref in each["dependsOn"]} <= references
    for each in bill["components"]:
        assert each["type"] == "library"
        assert each["purl"] == each["bom-ref"] == f"pkg:pypi/{each['name']}@{each['version']}"
        (said,) = each["licenses"]
        assert (said.get("expression") or said["license"]["name"]) != "not stated", each["name"]
    # Dependencies differ between platforms and Python versions.
    assert {**sbom.sbom(), "dependencies": bill["dependencies"]} == bill, "Run `make sbom`."
