"""OpenVINO files give the model's vectors, to our embedder and to sentence-transformers; skipped without OpenVINO."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asterisk.models.load import load_encoder
from asterisk.models.onnx import OnnxEmbedder, onnx_file
from asterisk.publishing.checkpoint import load_checkpoint
from asterisk.publishing.onnx_export import write_onnx_files
from asterisk.publishing.openvino_export import FULL, QUANTIZED, write_openvino_files
from tests.support.golden import RELEASE
from tests.support.paths import REPOSITORY
from tests.support.published import BACKBONE_TEXTS

pytestmark = pytest.mark.slow
pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """Return the released folder with float32 ONNX and OpenVINO files."""
    pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp("converted")
    for file in RELEASE.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    (folder / "1_Pooling").symlink_to(RELEASE / "1_Pooling")
    write_onnx_files(load_checkpoint(RELEASE), folder / "onnx")
    write_openvino_files(folder / "onnx" / "model.onnx", folder / "openvino", sentences[::60])
    return folder


@pytest.mark.parametrize(("form", "lowest", "mean"), [(FULL, 0.99999, 0.99999), (QUANTIZED, 0.9, 0.99)])
def test_files_give_the_models_vectors(
    converted: Path, sentences: list[str], form: str, lowest: float, mean: float
) -> None:
    texts = [*BACKBONE_TEXTS, *sentences[7::100]]
    exact, embedder = (OnnxEmbedder(onnx_file(converted, name), threads=2) for name in ("model", form))
    cosines = (exact.embed(exact.token_ids(texts)) * embedder.embed(embedder.token_ids(texts))).sum(axis=1)
    assert cosines.min() > lowest
    assert cosines.mean() > mean
    encoder = load_encoder(str(converted / "openvino" / form))
    np.testing.assert_allclose(encoder.encode(texts), embedder.embed(embedder.token_ids(texts)), atol=0.02)
    assert encoder.num_bytes < 0.6 * (converted / "onnx" / "model.onnx").stat().st_size


def test_the_embedder_imports_no_torch(converted: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from asterisk.models.onnx import OnnxEmbedder\n"
        f"embedder = OnnxEmbedder(Path({str(converted / 'openvino' / FULL)!r}), threads=1)\n"
        "embedder.embed(embedder.token_ids(['rain']))\n"
        "print({'torch', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_sentence_transformers_loads_the_folder(converted: Path) -> None:
    pytest.importorskip("optimum.intel")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(converted), backend="openvino", trust_remote_code=True)
    expected = load_encoder(str(RELEASE)).encode(BACKBONE_TEXTS)
    np.testing.assert_allclose(model.encode(BACKBONE_TEXTS), expected, atol=1e-3)
