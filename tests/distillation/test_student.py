"""A new student starts from what its teacher knows about single tokens, under any tokenizer; or it is an encoder."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import (
    AutoModel,
    AutoTokenizer,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from asterisk.core.errors import UserError
from asterisk.distillation.encoder_student import EncoderStudent
from asterisk.distillation.student import TABLE_STD, _token_vectors, new_student, token_strings
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import load_student, save_student
from asterisk.teachers.teacher import SentenceTransformerTeacher
from modeling_asterisk import AsteriskConfig, AsteriskModel
from tests.support.paths import REPOSITORY, TEACHER, soak

TEXTS = ["A man is playing a guitar.", "Rain.", "", "The quick brown fox jumps over a lazy dog, again and again."]
GPT2_FOLDER = REPOSITORY.parent / "shared" / "data" / "tokenizer" / "gpt2"
needs_gpt2 = pytest.mark.skipif(not GPT2_FOLDER.is_dir(), reason="GPT-2's vocabulary is not on this machine")


@soak  # The teacher embeds 30,000 tokens; what a table is made of, below, takes few.
def test_token_table_starts_from_the_teachers_vectors(teacher: SentenceTransformerTeacher) -> None:
    tokenizer = student_tokenizer(teacher, max_length=128)
    model = new_student(AsteriskConfig(vocab_size=len(tokenizer)), teacher, tokenizer)
    table = model.embeddings.embed_tokens.weight.detach()
    assert table.std().item() == pytest.approx(TABLE_STD, rel=1e-3)
    assert table.mean(dim=0).abs().max() < 1e-6
    rain, snow, chess = table[torch.tensor(tokenizer.convert_tokens_to_ids(["rain", "snow", "chess"]))]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(rain, snow, dim=0) > cosine(rain, chess, dim=0) + 0.2


def test_tokenizer_is_the_teachers(teacher: SentenceTransformerTeacher, sentences: list[str]) -> None:
    tokenizer = student_tokenizer(teacher, max_length=128)
    for text in [*sentences[::200], "", "  naïve café 北京 🙂 "]:
        assert tokenizer(text)["input_ids"] == teacher.tokenizer(text)["input_ids"]
    assert tokenizer.pad_token == teacher.tokenizer.pad_token
    assert np.isfinite(tokenizer.model_max_length)


@needs_gpt2
def test_gpt2s_tokenizer_is_the_papers(teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    """The ids of a text are GPT-2's own published ones; the paper's two entries follow; nothing changes on disk."""
    tokenizer = student_tokenizer(teacher, 128, f"gpt2:{GPT2_FOLDER}")
    assert len(tokenizer) == AsteriskConfig().vocab_size == 50_259
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id) == (50_257, 50_258)
    config = AsteriskConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    save_student(new_student(config, None, tokenizer), tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    for found in (tokenizer, saved):
        assert found("Hello world")["input_ids"] == [15496, 995]
        assert found("hi[MASK]<|endoftext|>")["input_ids"] == [5303, 50_257, 50_256]
        assert found(["Hello world", ""], padding=True)["input_ids"] == [[15496, 995], [50_258, 50_258]]
        assert found.decode(found("naïve 北京 🙂")["input_ids"]) == "naïve 北京 🙂"
        assert (found.model_max_length, list(found.model_input_names)) == (128, ["input_ids", "attention_mask"])
    embeddings = cast(AsteriskModel, load_student(tmp_path / "student")).encode(["", "Hello world"])
    assert not embeddings[0].any()
    assert np.linalg.norm(embeddings[1]) == pytest.approx(1)


@needs_gpt2
def test_tokens_stand_for_their_strings(teacher: SentenceTransformerTeacher) -> None:
    gpt2 = student_tokenizer(teacher, 128, f"gpt2:{GPT2_FOLDER}")
    strings = token_strings(gpt2)
    for token, string in [("rain", "rain"), ("Ġrain", "rain"), ("Ġ", ""), ("[PAD]", ""), ("Ã©", "é"), ("Ã", "")]:
        assert strings[gpt2.get_vocab()[token]] == string
    word_piece = student_tokenizer(teacher, 128)
    strings = token_strings(word_piece)
    for token, string in [("rain", "rain"), ("##ing", "ing"), ("[CLS]", ""), ("#", "#")]:
        assert strings[word_piece.get_vocab()[token]] == string


def test_trained_tokenizer_begins_with_the_teachers_vectors_of_its_strings(
    teacher: SentenceTransformerTeacher, sentences: list[str], tmp_path: Path
) -> None:
    tokenizer = student_tokenizer(teacher, 64, "trained:2000", sentences)
    assert len(tokenizer) == 2_000
    # The teacher ignores case, and a word is one token wherever it stands.
    assert tokenizer("People and people")["input_ids"] == tokenizer("people AND people")["input_ids"]
    assert len(set(tokenizer("people people")["input_ids"])) == 1
    model = new_student(AsteriskConfig(vocab_size=2_000), teacher, tokenizer)
    table = model.embeddings.embed_tokens.weight.detach()
    assert table[table.any(dim=1)].std().item() == pytest.approx(TABLE_STD, rel=1e-3)
    assert not table[tokenizer.pad_token_id].any()
    three, four, music = table[[tokenizer(word)["input_ids"][0] for word in ("three", "four", "music")]]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(three, four, dim=0) > cosine(three, music, dim=0) + 0.2
    save_student(model, tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    assert saved(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


class WordPieceTeacher:
    """A teacher of few tokens, whose vectors are drawn from what it is given; it knows tokens from their strings."""

    name = "a WordPiece's"

    def __init__(self) -> None:
        entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "##bow", "bow", ",", *"abcdefghijklmnopqrstuvwxyz"]
        entries += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
        backend = Tokenizer(WordPiece({entry: index for index, entry in enumerate(entries)}, unk_token="[UNK]"))
        backend.normalizer, backend.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
        backend.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        draws = [np.random.default_rng(list(text.encode())).standard_normal(64) for text in texts]
        return np.array(draws, dtype=np.float32), 0

    def encode_tokens(self, token_ids: list[int]) -> np.ndarray:
        return self.encode([f"token {token_id}" for token_id in token_ids])[0]


def test_extended_tokenizer_gives_frequent_words_the_teachers_vectors_of_them(tmp_path: Path) -> None:
    teacher = WordPieceTeacher()
    own = len(teacher.tokenizer)
    texts = ["Rain, rain and a rainbow.", "A RAINBOW, and snow", "And snow again", "once"]
    tokenizer = student_tokenizer(cast(Any, teacher), 64, f"extended:{own + 3}", texts)
    # Of what the teacher splits: and (3), rainbow (2), snow (2); "again" and "once" occur once.
    assert tokenizer.convert_ids_to_tokens([own, own + 1, own + 2]) == ["and", "rainbow", "snow"]
    assert len(tokenizer) == own + 3
    assert tokenizer.convert_ids_to_tokens(tokenizer("rain and rainbows")["input_ids"]) == (
        ["[CLS]", "rain", "and", "rainbow", "##s"]
    )
    # What is cut is the text's beginning: nothing stands behind a text.
    cut = tokenizer("rain rain rain", truncation=True, max_length=3)["input_ids"]
    assert cut == tokenizer("rain rain")["input_ids"]
    assert tokenizer("")["input_ids"] == [tokenizer.cls_token_id]
    vectors, known = _token_vectors(cast(Any, teacher), tokenizer)
    assert known.all()
    np.testing.assert_array_equal(vectors[:own], teacher.encode_tokens(list(range(own))))
    np.testing.assert_array_equal(vectors[own:], teacher.encode(["and", "rainbow", "snow"])[0])
    model = new_student(AsteriskConfig(vocab_size=len(tokenizer), hidden_size=16), cast(Any, teacher), tokenizer)
    save_student(model, tokenizer, tmp_path / "student")
    saved = AutoTokenizer.from_pretrained(tmp_path / "student", trust_remote_code=True)
    assert saved(texts)["input_ids"] == tokenizer(texts)["input_ids"]


@pytest.mark.parametrize("size", ["", "-5", "60", "many"])
def test_a_vocabulary_can_only_be_extended(size: str) -> None:
    with pytest.raises(UserError, match=f"above the teacher's 60, not '{size}'"):
        student_tokenizer(cast(Any, WordPieceTeacher()), 64, f"extended:{size}", TEXTS)


def test_only_a_word_piece_vocabulary_is_extended(sentences: list[str]) -> None:
    teacher = WordPieceTeacher()
    teacher.tokenizer.add_tokens(["<entity>"])
    with pytest.raises(UserError, match="1 of its tokens were added beside it"):
        student_tokenizer(cast(Any, teacher), 64, "extended:500", TEXTS)
    teacher.tokenizer = student_tokenizer(cast(Any, teacher), 64, "trained:400", sentences)
    with pytest.raises(UserError, match="the teacher's is BPE"):
        student_tokenizer(cast(Any, teacher), 64, "extended:500", sentences)


def test_trained_tokenizer_is_the_same_in_every_process(sentences: list[str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(sentences), encoding="utf-8")
    script = (
        "import sys; from types import SimpleNamespace; from pathlib import Path\n"
        "from asterisk.distillation.student import student_tokenizer\n"
        "texts = Path(sys.argv[1]).read_text(encoding='utf-8').splitlines()\n"
        "found = student_tokenizer(SimpleNamespace(name='an API'), 64, 'trained:3000', texts)\n"
        "sys.stdout.write(found.backend_tokenizer.to_str())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "texts.txt")]
    runs = [subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout for _ in range(2)]
    assert len(runs[0]) > 10_000
    assert len({hashlib.sha256(run).hexdigest() for run in runs}) == 1


class Precomputed:
    """A teacher of which there are only vectors."""

    name = "vectors.npy"

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        raise UserError("vectors.npy has no vector of 'the'.")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("teacher", "vectors.npy has no tokenizer"),
        ("trained:many", "at least 258, not 'many'"),
        ("trained:100", "at least 258, not '100'"),
        ("trained:1000", "too little text"),
        ("gpt2:recipes", "recipes holds neither encoder.json"),
        ("./nowhere", "no model folder ./nowhere"),
        ("./recipes", "tokenizer ./recipes cannot be loaded"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_refused(spec: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UserError, match=message):
        student_tokenizer(cast(Any, Precomputed()), 64, spec)


def test_a_table_from_a_teacher_that_embeds_nothing_new_is_refused(sentences: list[str]) -> None:
    teacher = cast(Any, Precomputed())
    tokenizer = student_tokenizer(teacher, 64, "trained:1000", sentences)
    assert tokenizer("Rain")["input_ids"] != tokenizer("rain")["input_ids"]
    with pytest.raises(UserError, match="--table random"):
        new_student(AsteriskConfig(vocab_size=1_000), teacher, tokenizer)
    assert new_student(AsteriskConfig(vocab_size=1_000), None, tokenizer).num_parameters() > 0


def test_a_whole_encoder_is_the_model_it_was(teacher: SentenceTransformerTeacher) -> None:
    student = EncoderStudent(TEACHER, max_length=256)
    np.testing.assert_allclose(student.encode(TEXTS), teacher.encode(TEXTS)[0], atol=1e-5)
    assert student.encode("Rain.", truncate_dim=100).shape == (100,)
    assert np.linalg.norm(student.encode("Rain.", truncate_dim=100)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "layers", "dimensions"),
    [
        ({"keep_layers": [0, 5]}, 2, 384),
        pytest.param({"projection_dim": 128}, 6, 128, id="HPD"),
        pytest.param({"average_layers": 4}, 6, 384, id="DistilFACE"),
        (
            {
                "keep_layers": [0, 2, 5],
                "average_layers": 2,
                "pooling": "cls",
                "projection_dim": 16,
                "activation": "linear",
            },
            3,
            16,
        ),
        ({"pooling": "max", "keep_layers": [1]}, 1, 384),
    ],
)
def test_a_saved_encoder_gives_the_embeddings_that_were_trained(
    options: dict[str, Any], layers: int, dimensions: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    student = EncoderStudent(TEACHER, max_length=64, **options).eval()
    assert student.encoder.config.num_hidden_layers == layers
    assert student.config.projection_dim == dimensions
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = student(**inputs)
    assert output.last_hidden_state.shape == (*inputs["input_ids"].shape, 384)
    np.testing.assert_allclose(output.pooler_output.norm(dim=-1), 1, atol=1e-6)
    save_student(student, student.tokenizer, tmp_path / "student")
    saved = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(saved.encode(TEXTS), output.pooler_output, atol=1e-5)
    np.testing.assert_allclose(student.encode(TEXTS), output.pooler_output, atol=1e-5)
    assert saved.max_seq_length == 64


def test_token_vectors_are_the_mean_of_the_last_layers() -> None:
    student = EncoderStudent(TEACHER, average_layers=4).eval()
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden_states = EncoderStudent(TEACHER).eval().encoder(**inputs, output_hidden_states=True).hidden_states
        found = student(**inputs).last_hidden_state
    torch.testing.assert_close(found, (sum(hidden_states[-4:]) / 4), atol=1e-5, rtol=0)


def test_an_encoder_trains_with_dropout_and_without_a_weight_left_behind() -> None:
    """SimCSE lives on dropout, and distributed training stops at a weight that has no gradient."""
    student = EncoderStudent(TEACHER, keep_layers=[0, 5], projection_dim=32).train()
    inputs = student.tokenizer(TEXTS, padding=True, return_tensors="pt")
    first, second = student(**inputs).pooler_output, student(**inputs).pooler_output
    assert (first - second).abs().max() > 1e-3
    first[:, 0].sum().backward()
    assert [name for name, weight in student.named_parameters() if weight.requires_grad and weight.grad is None] == []
    before = student.encode(TEXTS)
    assert student.training
    student.set_attn_implementation("eager")
    np.testing.assert_allclose(student.encode(TEXTS), before, atol=1e-5)


SMALL: dict[str, Any] = {"vocab_size": 30_522, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
MODERN_BERT = ModernBertConfig(**SMALL, num_hidden_layers=4, initializer_range=0.5, pad_token_id=0)


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(vocab_size=30_522, dim=32, n_layers=4, n_heads=2, hidden_dim=64, initializer_range=0.5),
        RobertaConfig(**SMALL, num_hidden_layers=4, max_position_embeddings=130, initializer_range=0.5),
        MODERN_BERT,
    ],
    ids=lambda config: config.model_type,
)
def test_layers_of_other_encoders_are_kept(
    config: PreTrainedConfig, teacher: SentenceTransformerTeacher, tmp_path: Path
) -> None:
    AutoModel.from_config(config).save_pretrained(tmp_path / "encoder")
    teacher.tokenizer.save_pretrained(tmp_path / "encoder")
    student = EncoderStudent(str(tmp_path / "encoder"), keep_layers=[0, 3]).eval()
    save_student(student, student.tokenizer, tmp_path / "student")
    saved = load_student(tmp_path / "student")
    np.testing.assert_allclose(saved.encode(TEXTS), student.encode(TEXTS), atol=1e-5)
    whole = EncoderStudent(str(tmp_path / "encoder"))
    assert np.abs(whole.encode(TEXTS) - student.encode(TEXTS)).max() > 1e-3


def test_layers_that_do_not_fit_are_refused(teacher: SentenceTransformerTeacher, tmp_path: Path) -> None:
    AutoModel.from_config(MODERN_BERT).save_pretrained(tmp_path / "encoder")
    teacher.tokenizer.save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match="keep 0 too"):
        EncoderStudent(str(tmp_path / "encoder"), keep_layers=[1, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "./nowhere"}, "no model folder ./nowhere"),
        ({"encoder": "./recipes"}, "encoder ./recipes cannot be loaded"),
        ({"keep_layers": [0, 6]}, "different ones of 0 to 5 in rising order"),
        ({"keep_layers": [5, 0]}, "rising order"),
        ({"average_layers": 8}, "between 1 and 7"),
        ({"pooling": "median"}, "must be one of mean, cls, max"),
        ({"projection_dim": 8, "activation": "relu"}, "must be one of tanh, linear"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_refused(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UserError, match=message):
        EncoderStudent(**{"encoder": TEACHER, **options})


def test_a_student_that_cannot_be_saved_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = EncoderStudent(TEACHER, keep_layers=[0])
    monkeypatch.setattr(type(student.tokenizer), "save_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_student(student, student.tokenizer, tmp_path / "new" / "student")
    assert list(tmp_path.iterdir()) == []
