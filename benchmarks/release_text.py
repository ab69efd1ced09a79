"""Draw the text of the second release from a folder of open text, pairs and labelled texts.

    python -m benchmarks.release_text --data_dir D --output runs/release_text.jsonl --texts 60000

D holds corpus/open/*.txt.zst, corpus/research/questions.txt.zst, pairs/open/*.parquet and labelled/open/*.parquet. The
output has one text per line, with its source, in random order: every beginning of the file is a sample of the whole.
Answers and abstracts are cut to 30, 60 or 120 words, so that the student sees texts of several lengths. --documents
adds texts of several successive sentences, which the second release's text does not have.
"""

import argparse
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

SEED = 20261130
OPEN_TEXT = {
    "enwiki2015": 20_000,
    "wikinews": 16_000,
    "enwiki": 12_000,
    "commonsense": 20_000,
    "sgd": 10_000,
    "gutenberg": 8_000,
    "wiki_simple": 6_000,
    "tatoeba": 12_000,
    "esnli_expl": 10_000,
    "common_voice": 8_000,
    "meetings": 5_000,
    "nlu_intents": 20_000,
    "goemotions": 1,  # its labelled part is drawn below
    "taskmaster": 5_000,
    "snli_devtest": 12_000,
    "web_ewt": 8_000,
}
QUESTIONS = 45_000
ABSTRACTS = 30_000
# Sources whose lines follow each other, and the number of documents of 3 to 12 lines.
DOCUMENTS = {"enwiki2015": 8_000, "wikinews": 8_000, "enwiki": 6_000, "gutenberg": 6_000, "meetings": 4_000}
LABELLED = {"goemotions": 30_000, "xed": 17_527, "emobank": 9_906, "headlines": 12_000}
WORDS = (30, 60, 120)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a zstd file."""
    with path.open("rb") as file, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8") as text:
        return text.read().splitlines()


def draw(data: Path, documents: bool) -> list[dict[str, str]]:
    """Draw the texts in random order, with or without documents."""
    generator = random.Random(SEED)
    drawn: list[dict[str, str]] = []

    def add(source: str, texts: Iterable[str], number: int) -> None:
        distinct = list(dict.fromkeys(" ".join(text.split()) for text in texts if text and text.strip()))
        drawn.extend({"text": text, "kind": source} for text in generator.sample(distinct, min(number, len(distinct))))

    def begin(text: str) -> str:
        return " ".join(text.split()[: generator.choice(WORDS)])

    for path in sorted((data / "corpus" / "open").glob("*.zst")):
        name = path.name.split(".")[0]
        lines = read_lines(path)
        add(f"open/{name}", lines, OPEN_TEXT[name])
        if documents and name in DOCUMENTS:
            starts = generator.sample(range(len(lines) - 12), DOCUMENTS[name])
            texts = (begin(" ".join(lines[start : start + generator.randint(3, 12)])) for start in starts)
            add(f"documents/{name}", texts, DOCUMENTS[name])
    add("questions", read_lines(data / "corpus" / "research" / "questions.txt.zst"), QUESTIONS)
    arxiv = pq.read_table(data / "pairs" / "open" / "arxiv.train.parquet").to_pydict()
    chosen = generator.sample(range(len(arxiv["title"])), ABSTRACTS)
    add("arxiv title", [arxiv["title"][row] for row in chosen], ABSTRACTS)
    add("arxiv abstract", [begin(arxiv["abstract"][row]) for row in chosen], ABSTRACTS)
    medquad = pq.read_table(data / "pairs" / "open" / "medquad.train.parquet").to_pydict()
    add("medquad question", medquad["question"], 12_000)
    add("medquad answer", [begin(answer) for answer in medquad["answer"]], 8_000)
    tools = pq.read_table(data / "pairs" / "open" / "tldr.train.parquet").to_pydict()
    add("tldr", tools["summary"], 4_000)
    for name, number in LABELLED.items():
        add(name, pq.read_table(data / "labelled" / "open" / f"{name}.train.parquet").to_pydict()["text"], number)
    generator.shuffle(drawn)
    return drawn


def main() -> None:
    """Draw the texts and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--texts", type=int, help="write only this many, a sample of the whole")
    parser.add_argument("--documents", action="store_true", help="add documents of several sentences")
    arguments = parser.parse_args()
    rows = draw(arguments.data_dir, arguments.documents)[: arguments.texts]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{arguments.output}: {len(rows):,} texts")


if __name__ == "__main__":
    main()
