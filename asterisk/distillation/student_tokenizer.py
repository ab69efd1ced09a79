"""distillation.student_tokenizer"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

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
from asterisk.models.resolve import resolve_model
from asterisk.teachers.teacher import Teacher

if TYPE_CHECKING:
    pass
from asterisk.models.tokenizers import portable_tokenizer, wrapped_tokenizer

GPT2 = "openai-community/gpt2"


# The vocabulary and the merges, as OpenAI and as the Hub name them.
GPT2_FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))


GPT2_END = "<|endoftext|>"


GPT2_SIZE = 50_257


# What the two tokenizers that are built here add, in the order of their ids.
ADDED = {"mask_token": "[MASK]", "pad_token": "[PAD]"}


SMALLEST_TRAINED = 256 + len(ADDED)

NO_TOKENIZER = (
    "The teacher {} has no tokenizer to give its student; choose another --tokenizer: gpt2, trained:VOCAB_SIZE, or a "
    "folder or Hub id."
)


def student_tokenizer(
    teacher: Teacher, max_length: int, spec: str = "teacher", texts: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """A student's tokenizer, as one that any transformers release loads: with a pad token, without truncation.

    Args:
        teacher: The teacher; its tokenizer is read for "teacher", and for whether "trained" ignores case.
        max_length: Longest text in tokens, `model_max_length`.
        spec: "teacher": the teacher's own. "gpt2": GPT-2's from the Hub, or "gpt2:FOLDER" from a folder's
            `encoder.json` and `vocab.bpe`; in both [MASK] is 50257 and [PAD] 50258, so an Asterisk of the paper's
            50,259 entries. "trained:VOCAB_SIZE": trained on `texts`. "extended:VOCAB_SIZE": the teacher's WordPiece,
            with the words that are most frequent in `texts` of those that it splits, and nothing behind a text.
            Anything else: a folder, a Hub id or `package:NAME` with a fast tokenizer.
        texts: The corpus, for "trained" and "extended".

    Raises:
        UserError: There is no such tokenizer, it is not a fast one, or the spec is malformed.
    """
    kind, _, value = spec.partition(":")
    if kind == "gpt2":
        return wrapped_tokenizer(_gpt2(value), max_length, eos_token=GPT2_END, **ADDED)
    if kind == "trained":
        if not value.isdigit() or int(value) < SMALLEST_TRAINED:
            raise UserError(
                f"--tokenizer trained:VOCAB_SIZE takes a whole number of at least {SMALLEST_TRAINED}, not {value!r}."
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


def _load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    location = resolve_model(name)
    try:
        return AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except Exception as error:  # whatever loading a stranger's tokenizer raises, the user wants one sentence
        raise UserError(f"The tokenizer {name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def _gpt2(folder: str) -> Tokenizer:
    """GPT-2's byte-level BPE with the added tokens, from the folder, or, if that is empty, from the Hub."""
    vocabulary, merges = _gpt2_files(folder)
    try:
        tokenizer = _byte_level(BPE.from_file(str(vocabulary), str(merges)), add_prefix_space=False)
    except Exception as error:  # the Rust library raises nothing more precise
        raise UserError(f"{vocabulary} and {merges.name} are not a byte-level BPE's: {error}.") from None
    if tokenizer.get_vocab_size() != GPT2_SIZE or tokenizer.token_to_id(GPT2_END) != GPT2_SIZE - 1:
        raise UserError(
            f"{vocabulary} has {tokenizer.get_vocab_size():,} entries, not GPT-2's {GPT2_SIZE:,} with {GPT2_END} last."
        )
    # In this order, so that their ids are the paper's.
    tokenizer.add_special_tokens([GPT2_END, *ADDED.values()])
    return tokenizer


def _gpt2_files(folder: str) -> tuple[Path, Path]:
    if not folder:
        try:
            return Path(hf_hub_download(GPT2, GPT2_FILES[1][0])), Path(hf_hub_download(GPT2, GPT2_FILES[1][1]))
        except Exception as error:  # of many kinds, from no network to no such repository
            raise UserError(
                f"GPT-2's tokenizer cannot be fetched from {GPT2} on the Hub ({type(error).__name__}); give a folder "
                "that has it: --tokenizer gpt2:FOLDER."
            ) from None
    for vocabulary, merges in GPT2_FILES:
        found = Path(folder).expanduser() / vocabulary, Path(folder).expanduser() / merges
        if all(path.is_file() for path in found):
            return found
    raise UserError(f"{folder} holds neither encoder.json and vocab.bpe nor vocab.json and merges.txt of GPT-2.")


def _trained(vocab_size: int, texts: Iterable[str], ignore_case: bool) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` entries.

    Not WordPiece, whose trainer gives other entries at each run, even of the same text: BPE's give the same. Nor has a
    byte-level vocabulary any unknown token. A word is the same token at a text's beginning as within it.
    """
    tokenizer = _byte_level(BPE(), add_prefix_space=True)
    if ignore_case:
        tokenizer.normalizer = Lowercase()
    trainer = BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(ADDED.values()), initial_alphabet=ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= SMALLEST_TRAINED:
        raise UserError("There is too little text to train a tokenizer on; give a corpus of sentences.")
    return tokenizer


def _extended(tokenizer: PreTrainedTokenizerFast, size: str, texts: Iterable[str]) -> Tokenizer:
    """A WordPiece of at most `size` entries, the first of which are the tokenizer's own; the rest are whole words.

    A word that is one token has a vector of its own, which starts as the teacher's vector of that word: what a deep
    teacher makes of its pieces, two layers cannot. Nothing is put behind a text: a separator says nothing there, and
    not every consumer puts it behind a text that it has cut.
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
    # So many of the most frequent words that enough of them are new, whichever the tokenizer has.
    counter.train_from_iterator(texts, WordLevelTrainer(vocab_size=int(size), min_frequency=2, show_progress=False))
    by_frequency = sorted(counter.get_vocab().items(), key=lambda entry: entry[1])
    vocabulary, longest = settings["model"]["vocab"], settings["model"]["max_input_chars_per_word"]
    if len(vocabulary) != len(tokenizer):
        raise UserError(
            f"--tokenizer extended:VOCAB_SIZE cannot extend the teacher's vocabulary: "
            f"{len(tokenizer) - len(vocabulary)} of its tokens were added beside it; choose trained:VOCAB_SIZE."
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
    """A student need not tell apart what its teacher cannot."""
    return tokenizer is not None and tokenizer("Rain")["input_ids"] == tokenizer("rain")["input_ids"]
