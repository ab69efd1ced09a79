"""Short distillations."""

from pathlib import Path
from typing import Any

import torch

from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.label_tasks import LabelledCorpus
from asterisk.distillation.loop import Distillation
from asterisk.distillation.pairs import Pairs, ScoredPairs
from asterisk.distillation.student import new_student
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import TEACHER


def start(
    store: EmbeddingStore,
    teacher: SentenceTransformerTeacher,
    folder: Path,
    pairs: Pairs | None = None,
    scored_pairs: ScoredPairs | None = None,
    labelled: LabelledCorpus | None = None,
    with_teacher: bool = True,
    student: AsteriskModel | None = None,
    is_trained: bool = False,
    new_exits: bool = False,
    dropout: float = 0.1,
    **fields: object,
) -> Distillation:
    """A run in full precision on a student with dropout, so that every random number matters."""
    student = student or tiny_student(teacher, hidden_dropout_prob=dropout)
    arguments = LoopArguments(
        **{"batch_size": 64, "num_epochs": 2, "eval_steps": 10, "mixed_precision": "no", **fields}  # type: ignore[arg-type]
    )
    folder.mkdir(exist_ok=True)
    return Distillation(
        student,
        store.tokens(student_tokenizer(teacher, max_length=64), 64),
        store if with_teacher else None,
        arguments,
        folder,
        pairs,
        scored_pairs,
        labelled,
        is_trained=is_trained,
        new_exits=new_exits,
    )


def tiny_student(teacher: SentenceTransformerTeacher, **fields: Any) -> AsteriskModel:
    """A new student of 32 dimensions with random weights."""
    torch.manual_seed(0)
    tokenizer = student_tokenizer(teacher, max_length=64)
    config = AsteriskConfig(
        **{"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "projection_dim": 32, **fields}
    )
    return new_student(config, None, tokenizer)


def train_without_dropout(store: Path, folder: Path, batch_size: int) -> None:
    """Fifty steps that compute the same in any number of processes, each of which would draw its own dropout."""
    teacher = SentenceTransformerTeacher(TEACHER, dtype="float32")
    fields: dict[str, Any] = {"max_steps": 50, "eval_steps": 1, "heldout": 20}
    fields["muon_factor"] = 0  # rounds to bfloat16 on some processors
    start(EmbeddingStore(store), teacher, folder, batch_size=batch_size, dropout=0.0, **fields).train()
