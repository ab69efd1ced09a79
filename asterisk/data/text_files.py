"""Open text files: decompression with a size limit, encoding detection, and lines of bounded length."""

import codecs
import functools
import io
import lzma
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow as pa
from charset_normalizer import from_bytes

from asterisk.core.errors import UserError, redact

COMPRESSIONS = (".xz", ".gz", ".bz2", ".zst")

# A longer line is neither a sentence nor a row of a table.
LONGEST_LINE = 1 << 24

# Text compresses about 10:1. A file that expands more than MAX_EXPANSION times and above FREE_BYTES is refused.
MAX_EXPANSION, FREE_BYTES = 200, 1 << 24

# Bytes at the start of a file from which its encoding and separator are detected.
SAMPLE_BYTES = 1 << 20

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Encodings tried for text whose words consist of non-ASCII bytes; other text that is not UTF-8 may be cp1252.
NON_LATIN = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949", "euc_jp"]
# Encodings of one layout, in which Central European or Turkish letters replace some of cp1252's.
LATIN = ["cp1252", "cp1250", "cp1254"]
# Words with ő or ű: in cp1252 they are õ and û, which no word has beside these vowels.
HUNGARIAN = re.compile(
    rb"[\xe1\xe9\xed\xf3\xfa][a-z\xe0-\xff]*\xf5|\xf5[a-z\xe0-\xff]*[\xe1\xe9\xed\xf3\xfa]"
    rb"|[\xe1\xed\xf3\xfa\xf6\xfc][a-z\xe0-\xff]*\xfb|\xfb[a-z\xe0-\xff]*[\xe1\xed\xf3\xfa\xf6\xfc]"
)
# First bytes of files that have the wrong suffix or were not fetched.
MAGIC = {
    b"PK\x03\x04": "an Excel workbook or ZIP archive, not text; save it as CSV or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Office file, not text; save it as CSV",
    b"PAR1": "a Parquet file, not text; name it .parquet",
    b"\x1f\x8b": "a gzip file, not text; add .gz to its name",
    b"\x28\xb5\x2f\xfd": "a Zstandard file, not text; add .zst to its name",
    b"BZh91AY&SY": "a bzip2 file, not text; add .bz2 to its name",
    b"\xfd7zXZ\0": "an xz file, not text; add .xz to its name",
    b"<!DOCTYPE html": "a web page, not a file of texts; download the file that it shows",
    b"<!doctype html": "a web page, not a file of texts; download the file that it shows",
    b"<html": "a web page, not a file of texts; download the file that it shows",
    b"%PDF-": "a PDF file, not text; save its text",
    b"version https://git-lfs.github.com/spec/": "a pointer of Git LFS; fetch the file with git lfs pull",
}
# Largest share of zero bytes in text that is not UTF-16 or UTF-32.
MAX_ZEROS = 0.01


class SizeLimit:
    """Refuses content that expands far beyond its stored size: a likely decompression bomb."""

    def __init__(self, stored: int):
        self.max_bytes = max(FREE_BYTES, MAX_EXPANSION * stored)

    def check(self, size: int) -> None:
        """Raise a ValueError if the size exceeds the limit."""
        if size > self.max_bytes:
            raise ValueError(
                f"it expands to more than {self.max_bytes:,} bytes, over {MAX_EXPANSION} times its own size: a likely "
                "decompression bomb"
            )


class _Decompressed(io.RawIOBase):
    """A stream of decompressed bytes that enforces the size limit."""

    def __init__(self, content: IO[bytes], limit: SizeLimit | None):
        self._content, self._limit, self._total = content, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Fill the buffer, so that one peek sees the whole sample.
        size = 0
        while size < len(buffer) and (part := self._content.read(len(buffer) - size)):
            buffer[size : size + len(part)] = part
            size += len(part)
        self._total += size
        if self._limit:
            self._limit.check(self._total)
        return size


@functools.cache
def say(sentence: str) -> None:
    """Print a note on stderr, once per process, since a file may be opened several times."""
    print(f"note: {redact(sentence)}", file=sys.stderr)


@contextmanager
def open_text(file: str, encoding: str = "", *, may_be_legacy: bool = True) -> Iterator[tuple[IO[str], str]]:
    """Open a file or URL, compressed or not.

    Args:
        file: Path or URL.
        encoding: Name of a codec; detected if empty.
        may_be_legacy: Whether encodings other than Unicode's, such as cp1252, are detected; JSON never uses them.

    Yields:
        The text, with newlines as line breaks, and the complete lines among its first SAMPLE_BYTES.

    Raises:
        UserError: The codec does not exist.
        ValueError: The content is not text, its encoding cannot be detected, or it is a likely decompression bomb.
    """
    is_zstd = file.lower().endswith(".zst")
    with fsspec.open(file, "rb", compression=None if is_zstd else "infer") as stored:
        # fsspec would use zstandard, which accepts truncated files.
        content = pa.CompressedInputStream(stored, "zstd") if is_zstd else stored
        is_compressed = file.lower().endswith(COMPRESSIONS) and Path(file).is_file()
        limit = SizeLimit(Path(file).stat().st_size) if is_compressed else None
        raw = io.BufferedReader(_Decompressed(content, limit), SAMPLE_BYTES)
        try:
            sample = raw.peek(SAMPLE_BYTES)
        except (OSError, EOFError, lzma.LZMAError) as error:
            if not is_compressed:
                raise
            raise ValueError(f"{error}; it is damaged, or its name should not end in {Path(file).suffix}") from None
        if kind := next((kind for start, kind in MAGIC.items() if sample.startswith(start)), None):
            raise ValueError(f"it is {kind}")
        encoding = _check_encoding(encoding) if encoding else _find_encoding(file, sample, may_be_legacy)
        mark = next((mark for mark in BYTE_ORDER_MARKS if sample.startswith(mark)), b"")
        if mark and codecs.lookup(encoding).name not in BYTE_ORDER_MARKS.values():
            sample = sample[len(raw.read(len(mark))) :]
        start = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
        start = start.replace("\r\n", "\n").replace("\r", "\n")
        if len(sample) == SAMPLE_BYTES:
            start = start[: start.rfind("\n") + 1] or start
        with io.TextIOWrapper(raw, encoding=encoding) as text:
            yield text, start


def bounded_lines(text: IO[str], hint: str = "break it up") -> Iterator[str]:
    """Yield the lines of a text with their line breaks; raise a ValueError for a line that reaches LONGEST_LINE."""
    for number, line in enumerate(iter(lambda: text.readline(LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE and line[-1] != "\n":
            raise ValueError(f"line {number:,} has more than {LONGEST_LINE:,} characters; {hint}")
        yield line


def _check_encoding(encoding: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses codecs of other things than text
        # utf-8-sig skips a byte order mark, which utf-8 reads as text.
        return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    except LookupError:
        raise UserError(f"There is no encoding {encoding!r}; give --encoding utf-8, cp1252 or the like.") from None


def _find_encoding(file: str, sample: bytes, may_be_legacy: bool) -> str:
    """Detect the encoding of a file from its first bytes."""
    found = next((name for mark, name in BYTE_ORDER_MARKS.items() if sample.startswith(mark)), "")
    if not found:
        even, odd = (sample[start::2].count(0) / max(1, len(sample) // 2) for start in (0, 1))
        found = "utf-16-le" if even < 0.05 < 0.3 < odd else "utf-16-be" if odd < 0.05 < 0.3 < even else ""
    if not found and sample.count(0) > MAX_ZEROS * len(sample):
        raise ValueError("it holds zero bytes, so it is not text; give another file")
    if not found and may_be_legacy and not _is_utf8(sample):
        found = _legacy_encoding(sample)
        word = _telling_word(sample.decode(found, "replace"), found)
        shown = f", with words such as {word[:20]!r}" if word else ""
        say(f"{file} is not UTF-8 text; it is read as {found}{shown} (--encoding overrides it).")
    elif found and found != "utf-8-sig":
        say(f"{file} is read as {found} text (--encoding overrides it).")
    return found or "utf-8-sig"


def _telling_word(text: str, encoding: str) -> str:
    """Return a word that shows whether the encoding is right: other encodings of its layout read it differently."""
    words = re.findall(r"\w*[^\W\x00-\x7f]\w*", text)
    others = LATIN if encoding in LATIN else []
    readings = ({word.encode(encoding, "replace").decode(other, "replace") for other in others} for word in words)
    return next((word for word, read in zip(words, readings, strict=True) if len(read) > 1), words[0] if words else "")


def _is_utf8(sample: bytes) -> bool:
    """Return whether bytes are mostly UTF-8; damaged UTF-8 is refused later instead of read as another encoding."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=len(sample) < SAMPLE_BYTES)
        return True
    except UnicodeDecodeError:
        characters = sample.decode("utf-8", "replace")
        return sum(char > "\x7f" for char in characters) > 2 * characters.count("\ufffd")


def _legacy_encoding(sample: bytes) -> str:
    runs = re.findall(rb"[\x80-\xff]+", sample)
    in_words = sum(len(run) for run in runs if len(run) > 1) / sum(map(len, runs))
    if in_words > 0.8:
        lines = b"\n".join(line for line in sample.splitlines() if not line.isascii())[: 1 << 16]
        if best := from_bytes(lines, cp_isolation=NON_LATIN).best():
            return best.encoding
    # Bytes inside words: letters begin at 0xC0 in cp1252 (except ’ and œ), and at 0x80 on DOS and old Macs.
    low, high = (
        len(re.findall(rb"(?<=[A-Za-z])[%b](?=[a-z])" % letters, sample))
        for letters in (rb"\x80-\x91\x93-\x9b\x9d-\x9f", rb"\xc0-\xff")
    )
    try:
        sample.decode("cp1252")
        if low <= high:
            return _latin_encoding(sample)
    except UnicodeDecodeError:
        pass
    raise ValueError(
        "its encoding is not known; name it with --encoding, such as cp1250 (Central Europe), cp850 (DOS) or "
        "mac_roman (old Macs)"
    )


def _latin_encoding(sample: bytes) -> str:
    """Return cp1252, or cp1250 or cp1254 if its letters fit the text better."""
    # The bytes of ł, ą, ż, ľ and ź are ³, ¹, ¿, ¾ and Ÿ in cp1252, which do not occur inside words.
    if re.search(rb"[a-z][\xb3\xb9\xbe\xbf\x9f][a-z]", sample):
        return "cp1250"
    if HUNGARIAN.search(sample):
        return "cp1250"
    # Turkish ğ, ı and ş: in cp1252 they are ð, ý and þ, whose languages also have á, í, ó, ú or æ.
    if re.search(rb"[a-z][\xf0\xfd\xfe][a-z]", sample) and not re.search(rb"[\xe1\xed\xf3\xfa\xe6]", sample):
        return "cp1254"
    lines = b"\n".join(line for line in sample.splitlines() if not line.isascii())[: 1 << 16]
    matches = from_bytes(lines, cp_isolation=LATIN)
    western = next((match for match in matches if "cp1252" in match.could_be_from_charset), None)
    best = matches.best()
    return best.encoding if best and (western is None or best.chaos < western.chaos) else "cp1252"
