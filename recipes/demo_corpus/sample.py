"""Draw the demo corpus from larger collections and write the table of its data card.

    python recipes/demo_corpus/sample.py --corpus_dir COLLECTIONS --benchmarks 'EVAL/**/*.parquet'

COLLECTIONS holds one `<source>.txt.zst` per source with a sentence per line. A sentence that occurs in a benchmark,
ignoring case and punctuation, is not drawn. The same collections give the same files, byte for byte.
"""

import argparse
import hashlib
import lzma
from pathlib import Path

import fsspec

from asterisk.data.decontamination import benchmark_keys
from asterisk.data.deduplication import sentence_key

# Number of sentences, licence and origin of each source. Dialogue and caption-like text are drawn more than their
# share, encyclopedic text less, because most users embed short everyday sentences.
SOURCES = {
    "commonsense": (13000, "CC BY-SA 4.0 / MIT", "ComVE (by wangcunxiang), Waste-Wood/e-CARE, yasumasaonoe/creak"),
    "common_voice": (7000, "CC0 1.0", "mozilla/common-voice"),
    "enwiki": (4000, "CC BY-SA 3.0", "English Wikipedia (articles of 2021), by its authors: Vibhas-hs-edu/WikiTasks"),
    "esnli_expl": (7000, "MIT", "e-SNLI explanations: OanaMariaCamburu/e-SNLI"),
    "gutenberg": (2000, "public domain (US)", "Project Gutenberg novels: AmanSharma0710/wss22"),
    "nlu_intents": (3500, "CC BY 4.0 / 3.0 / CC0 1.0", "training parts, of PolyAI-LDN, clinc, xliuhw, jianguoz"),
    "sgd": (2500, "CC BY-SA 4.0", "Schema-Guided Dialogue: google-research-datasets/dstc8-schema-guided-dialogue"),
    "taskmaster": (2000, "CC BY 4.0", "Taskmaster: google-research-datasets/Taskmaster"),
    "tatoeba": (7000, "CC BY 2.0 FR", "Tatoeba (tatoeba.org), by its contributors: facebookresearch/LASER"),
    "web_ewt": (3000, "CC BY-SA 4.0", "English Web Treebank: UniversalDependencies/UD_English-EWT"),
    "wiki_simple": (2000, "CC BY-SA 3.0", "English Wikipedia, by its authors: WikiSplit and WikiText"),
    "wikinews": (8000, "CC BY 2.5", "Wikinews, by its authors: jshepp27/countaBot"),
}  # fmt: skip


def draw(sentences: list[str], count: int, excluded: set[bytes]) -> list[str]:
    """Draw without a seed: the `count` sentences of at most 20 words with the smallest hashes."""
    allowed = [text for text in sentences if len(text.split()) <= 20 and sentence_key(text) not in excluded]
    return sorted(allowed, key=lambda text: hashlib.sha256(text.encode()).digest())[:count]


def main() -> None:
    """Draw every source and write the card's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus_dir", type=Path, required=True, help="folder of <source>.txt.zst")
    parser.add_argument("--benchmarks", nargs="+", required=True, help="Parquet files whose sentences are left out")
    arguments = parser.parse_args()
    here = Path(__file__).parent
    excluded = benchmark_keys(arguments.benchmarks)
    rows, total = [], 0
    for source, (count, licence, origin) in SOURCES.items():
        with fsspec.open(str(arguments.corpus_dir / f"{source}.txt.zst"), "rt", compression="infer") as file:
            drawn = draw(file.read().splitlines(), count, excluded)
        target = here / f"{source}.txt.xz"
        target.write_bytes(lzma.compress(("\n".join(drawn) + "\n").encode(), preset=9 | lzma.PRESET_EXTREME))
        rows.append(f"| `{target.name}` | {len(drawn):,} | {licence} | {origin} |")
        total += len(drawn)
    table = ["| file | sentences | licence | from |", "| --- | ---: | --- | --- |", *rows, f"| all | {total:,} | | |"]
    card = here / "README.md"
    start, end = "<!-- table written by sample.py -->\n", "<!-- end of table -->\n"
    before, _, rest = card.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    card.write_text(before + start + "\n".join(table) + "\n" + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
