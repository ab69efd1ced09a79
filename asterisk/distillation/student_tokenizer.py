"""The student's tokenizer: the teacher's, an extended one, GPT-2's, or one trained on the corpus."""

import json
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import hf_hub_download
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer, WordLevelTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.models.resolve import loading, resolve_model
from asterisk.models.tokenizers import portable_tokenizer, wrapped_tokenizer
from asterisk.teachers.teacher import Teacher

GPT2 = "openai-community/gpt2"
# Vocabulary and merges, as OpenAI names them and as the Hub does.
GPT2_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
GPT2_END = "<|endoftext|>"
GPT2_SIZE = 50_257

# Tokens added to a GPT-2 or trained tokenizer, in the order of their ids.
ADDED = {"mask_token": "[MASK]", "pad_token": "[PAD]"}
MIN_TRAINED_SIZE = 256 + len(ADDED)

NO_TOKENIZER = (
    "The teacher {} has no tokenizer to give its student; choose another --tokenizer: gpt2, trained:VOCAB_SIZE, or a "
    "folder or Hub id."
)


def student_tokenizer(
    teacher: Teacher, max_length: int, spec: str = "teacher", texts: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Return the student's tokenizer, with a pad token and without truncation; any transformers release can load it.

    Args:
        teacher: Its tokenizer is the source for "teacher" and "extended", and decides whether "trained" ignores
            case.
        max_length: Maximum text length in tokens; it becomes `model_max_length`.
        spec: One of:
            - "teacher": the teacher's tokenizer.
            - "extended:VOCAB_SIZE": the teacher's WordPiece plus the most frequent words of `texts` that it splits. It
              adds no token after a text.
            - "gpt2": GPT-2's tokenizer from the Hub, or "gpt2:FOLDER" from a folder's `encoder.json` and `vocab.bpe`.
              [MASK] is 50257 and [PAD] 50258, as in the paper's vocabulary of 50,259.
            - "trained:VOCAB_SIZE": a new tokenizer, trained on `texts`.
            - A folder, a Hub id or `package:NAME` with a fast tokenizer.
        texts: The corpus, for "trained" and "extended".

    Raises:
        UserError: The tokenizer cannot be found, is not a fast one, or the spec is malformed.
    """
    kind, _, value = spec.partition(":")
    if kind == "gpt2":
        return wrapped_tokenizer(_gpt2(value), max_length, eos_token=GPT2_END, **ADDED)
    if kind == "trained":
        if not value.isdigit() or int(value) < MIN_TRAINED_SIZE:
            raise UserError(
                f"--tokenizer trained:VOCAB_SIZE takes a whole number of at least {MIN_TRAINED_SIZE}, not {value!r}."
            )
        trained = _trained(int(value), texts, ignore_case=_ignores_case(getattr(teacher, "tokenizer", None)))
        return wrapped_tokenizer(trained, max_length, add_prefix_space=True, **ADDED)
    if spec == "teacher" or kind == "extended":
        source = getattr(teacher, "tokenizer", None)
        if source is None:
            raise UserError(NO_TOKENIZER.format(teacher.name))
    else:
        source = _load_tokenizer(spec)
    tokenizer = portable_tokenizer(source, max_length)
    if kind == "extended":
        tokenizer = wrapped_tokenizer(_extended(tokenizer, value, texts), max_length, **tokenizer.special_tokens_map)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    return tokenizer


def add_separator(tokenizer: PreTrainedTokenizerFast) -> None:
    """Make a tokenizer put [CLS] before and [SEP] after every text, in place.

    Raises:
        UserError: The tokenizer has no such tokens.
    """
    first, last = tokenizer.cls_token, tokenizer.sep_token
    if not first or not last:
        raise UserError(
            "--add_separator needs a tokenizer with a cls_token and a sep_token; the student's has "
            f"{' and '.join(token for token in (first, last) if token) or 'neither'}."
        )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[first, "$A", last],
        pair=[first, "$A", last, "$B", last],
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in (first, last)],
    )


def _load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    with loading(f"The tokenizer {name}"):
        return AutoTokenizer.from_pretrained(resolve_model(name), trust_remote_code=False)


def _gpt2(folder: str) -> Tokenizer:
    """Load GPT-2's byte-level BPE from a folder, or from the Hub if `folder` is empty, and add tokens."""
    vocabulary, merges = _gpt2_files(folder)
    try:
        tokenizer = _byte_level(BPE.from_file(str(vocabulary), str(merges)), add_prefix_space=False)
    except Exception as error:  # the Rust library raises nothing more precise
        raise UserError(f"{vocabulary} and {merges.name} hold no byte-level BPE: {error}.") from None
    if tokenizer.get_vocab_size() != GPT2_SIZE or tokenizer.token_to_id(GPT2_END) != GPT2_SIZE - 1:
        raise UserError(
            f"{vocabulary} has {tokenizer.get_vocab_size():,} entries, not GPT-2's {GPT2_SIZE:,} with {GPT2_END} last."
        )
    # This order gives them the paper's ids.
    tokenizer.add_special_tokens([GPT2_END, *ADDED.values()])
    return tokenizer


def _gpt2_files(folder: str) -> tuple[Path, Path]:
    if not folder:
        try:
            return Path(hf_hub_download(GPT2, GPT2_FILES[1][0])), Path(hf_hub_download(GPT2, GPT2_FILES[1][1]))
        except Exception as error:  # no network, no such repository and others
            raise UserError(
                f"GPT-2's tokenizer cannot be fetched from {GPT2} on the Hub ({type(error).__name__}); give a folder "
                "that holds it: --tokenizer gpt2:FOLDER."
            ) from None
    for vocabulary, merges in GPT2_FILES:
        found = Path(folder).expanduser() / vocabulary, Path(folder).expanduser() / merges
        if all(path.is_file() for path in found):
            return found
    raise UserError(f"{folder} holds neither encoder.json and vocab.bpe nor vocab.json and merges.txt of GPT-2.")


def _trained(vocab_size: int, texts: Iterable[str], ignore_case: bool) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab_size` entries.

    The model is BPE, because WordPiece's trainer returns a different vocabulary in every run. A byte-level vocabulary
    has no unknown token. A word is the same token at the start of a text and within it.
    """
    tokenizer = _byte_level(BPE(), add_prefix_space=True)
    if ignore_case:
        tokenizer.normalizer = Lowercase()
    trainer = BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(ADDED.values()), initial_alphabet=ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= MIN_TRAINED_SIZE:
        raise UserError("There is too little text to train a tokenizer on; give a corpus of sentences.")
    return tokenizer


def _extended(tokenizer: PreTrainedTokenizerFast, size: str, texts: Iterable[str]) -> Tokenizer:
    """Return a WordPiece of at most `size` entries: the tokenizer's entries, followed by whole words.

    A word that is one token starts from the teacher's vector of that word. Two layers cannot compose this vector from
    word pieces, as a deep teacher does. No separator follows a text, because it would carry no information, and not
    every consumer appends it to a truncated text.
    """
    backend = tokenizer.backend_tokenizer
    settings = json.loads(backend.to_str())
    if settings["model"]["type"] != "WordPiece":
        raise UserError(
            f"--tokenizer extended:VOCAB_SIZE adds words to a WordPiece vocabulary; the teacher's is "
            f"{settings['model']['type']}: choose trained:VOCAB_SIZE."
        )
    if not size.isdecimal() or int(size) <= len(tokenizer):
        raise UserError(
            f"--tokenizer extended:VOCAB_SIZE takes a whole number above the teacher's {len(tokenizer):,}, "
            f"not {size!r}."
        )
    counter = Tokenizer(WordLevel())
    counter.normalizer, counter.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    # As many words as the whole vocabulary, so that enough of them are new.
    counter.train_from_iterator(texts, WordLevelTrainer(vocab_size=int(size), min_frequency=2, show_progress=False))
    by_frequency = sorted(counter.get_vocab().items(), key=lambda entry: entry[1])
    vocabulary, longest = settings["model"]["vocab"], settings["model"]["max_input_chars_per_word"]
    if len(vocabulary) != len(tokenizer):
        raise UserError(
            f"--tokenizer extended:VOCAB_SIZE cannot extend the teacher's vocabulary: "
            f"{len(tokenizer) - len(vocabulary)} of its tokens lie outside that vocabulary; choose trained:VOCAB_SIZE."
        )
    new = [word for word, _ in by_frequency if word not in vocabulary and len(word) <= longest]
    vocabulary.update((word, len(tokenizer) + index) for index, word in enumerate(new[: int(size) - len(tokenizer)]))
    extended = Tokenizer.from_str(json.dumps(settings))
    before = [token for token in (tokenizer.cls_token,) if token]
    extended.post_processor = TemplateProcessing(
        single=[*before, "$A"],
        pair=[*before, "$A", "$B"],
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in before],
    )
    return extended


def _byte_level(model: BPE, add_prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def _ignores_case(tokenizer: PreTrainedTokenizerBase | None) -> bool:
    """Return whether a tokenizer ignores case."""
    return tokenizer is not None and tokenizer("Rain")["input_ids"] == tokenizer("rain")["input_ids"]
