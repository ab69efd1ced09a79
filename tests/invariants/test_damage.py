"""A damaged file is refused by name, or remade."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

import asterisk.heads.run
import train_distill
import train_head
from asterisk.core.checksums import CHECKSUMS
from asterisk.core.errors import UserError
from asterisk.heads.fine_tuning import Progress
from asterisk.heads.training import HeadTraining
from asterisk.teachers.embed_corpus import embed_corpus
from asterisk.teachers.shards import shard_name
from tests.support.faults import Run, model_files, refusal
from tests.support.flags import distillation_flags, head_flags
from tests.support.stores import QuickTeacher, contents, quick_corpus, word_tokenizer


def damaged(content: bytes, moment: random.Random) -> bytes:
    """The content with one byte changed, or without its end."""
    place = moment.randrange(len(content))
    if moment.random() < 0.5:
        return content[:place]
    return content[:place] + bytes([content[place] ^ moment.randint(1, 255)]) + content[place + 1 :]


def test_damaged_token_ids_are_named_and_remade_after_deletion(tmp_path: Path) -> None:
    store = embed_corpus(quick_corpus(tmp_path / "corpus", shards=2), QuickTeacher(), tmp_path / "store")
    store.tokens(word_tokenizer(), 8)
    whole = contents(tmp_path / "store")
    (folder,) = (tmp_path / "store").glob("tokens-*")
    moment = random.Random(0)
    for turn in range(40):
        file = folder / (shard_name(1) if turn % 2 else "shard-00001.sha256")
        file.write_bytes(damaged(file.read_bytes(), moment))
        with pytest.raises(UserError, match=rf"{folder.name}/shard-00001\.arrow is missing or damaged; delete it and"):
            store.tokens(word_tokenizer(), 8)
        (folder / shard_name(1)).unlink()
        store.tokens(word_tokenizer(), 8)
        assert contents(tmp_path / "store") == whole


def test_a_damaged_corpus_is_refused_or_gives_its_sentences(tmp_path: Path) -> None:
    corpus = quick_corpus(tmp_path / "corpus", shards=1, rows=200)
    sentences = corpus.shard(0)
    (path,) = corpus.folder.glob("*.parquet")
    content = path.read_bytes()
    moment = random.Random(0)
    refused = 0
    for _ in range(100):
        path.write_bytes(damaged(content, moment))
        if said := refusal(lambda: corpus.shard(0)):
            assert f"delete {corpus.folder} and run the command again" in said
            refused += 1
        else:
            assert corpus.shard(0) == sentences
    assert refused > 50


@pytest.mark.slow
def test_a_damaged_checkpoint_of_a_distillation_is_named(material: Path, tmp_path: Path, run: Run) -> None:
    flags = distillation_flags(material, tmp_path / "run")
    assert run(train_distill, flags)[0] == 0
    expected = model_files(tmp_path / "run")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    moment = random.Random(0)
    for path in sorted(checkpoint.iterdir()):
        content = path.read_bytes()
        path.write_bytes(damaged(content, moment))
        status, errors = run(train_distill, flags)
        assert status == 2, path.name
        assert str(checkpoint / CHECKSUMS) in errors
        assert path.name in errors
        assert f"delete {checkpoint} and run the command again" in errors
        path.write_bytes(content)
    path.unlink()
    (checkpoint / CHECKSUMS).write_text("")
    for each in [*checkpoint.iterdir()]:
        each.unlink()
    checkpoint.rmdir()
    assert run(train_distill, flags)[0] == 0
    assert model_files(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_damaged_checkpoint_of_a_head_is_named(
    material: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = head_flags(material, tmp_path / "head", "full")
    steps = itertools.count(1)

    def stop(self: Progress, *_: Any, **__: Any) -> None:
        if next(steps) == 8:  # in the third pass of three steps
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(Progress, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run(train_head, flags)
    folder = tmp_path / "head" / "training" / "repeat-0"
    checkpoint = folder / "checkpoint-6"
    moment = random.Random(0)
    for path in sorted(checkpoint.iterdir()):
        content = path.read_bytes()
        path.write_bytes(damaged(content, moment))
        status, errors = run(train_head, flags)
        assert status == 2, path.name
        assert path.name in errors
        assert f"delete {folder} and run the command again" in errors
        path.write_bytes(content)
    # A run that is killed while it writes a checkpoint leaves half of one, which does not count.
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "trainer_state.json").write_text("{")
    assert run(train_head, flags)[0] == 0
    assert run(train_head, head_flags(material, tmp_path / "undisturbed", "full"))[0] == 0
    assert model_files(tmp_path / "head") == model_files(tmp_path / "undisturbed")


@pytest.mark.slow
def test_damaged_embeddings_of_a_head_are_remade_and_a_damaged_best_model_is_named(
    material: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = head_flags(material, tmp_path / "head", "frozen")
    with monkeypatch.context() as stopping:
        stopping.setattr(asterisk.heads.run, "decide", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(train_head, flags)
    training = tmp_path / "head" / "training"
    embeddings, moment = (training / "embeddings.npy").read_bytes(), random.Random(0)
    (training / "embeddings.npy").write_bytes(damaged(embeddings, moment))
    (training / "repeats.json").unlink()
    weights = training / "best" / "model.safetensors"
    with monkeypatch.context() as damaging:
        best_model = HeadTraining.best_model

        def damage(self: HeadTraining) -> Any:
            assert (training / "embeddings.npy").read_bytes() == embeddings
            weights.write_bytes(damaged(weights.read_bytes(), moment))
            return best_model(self)

        damaging.setattr(HeadTraining, "best_model", damage)
        status, errors = run(train_head, flags)
    assert status == 2
    assert f"model.safetensors has changed; delete {training} and run the command again" in errors
