"""The arguments that say which texts are read: a corpus, and labelled texts. Imports nothing heavy, for `--help`."""

from dataclasses import dataclass, field


@dataclass
class CorpusArguments:
    """Corpus: the texts to train on, as options of `asterisk.data.corpus.build_corpus`."""

    corpus: list[str] = field(
        default_factory=list,
        metadata={"help": "text files (a sentence per line), tables, folders, glob patterns or Hub datasets"},
    )
    text_column: str = field(default="text", metadata={"help": "column of the tables that contains the text"})
    split_sentences: str | None = field(
        default=None, metadata={"help": "split texts into sentences by the rules of this language, such as en"}
    )
    near_duplicates: float | None = field(
        default=None,
        metadata={"help": "drop sentences whose word pairs overlap this much (Jaccard) with a kept one, e.g. 0.8"},
    )
    min_words: int = field(default=1, metadata={"help": "drop sentences with fewer words"})
    sentences_per_source: int = field(
        default=0, metadata={"help": "maximum of sentences to draw from each file or Hub dataset; 0 takes all"}
    )
    documents_per_source: int = field(
        default=0,
        metadata={"help": "maximum of texts of 2 to 12 successive sentences to add from each file or Hub dataset"},
    )
    phrases_per_source: int = field(
        default=0,
        metadata={"help": "maximum of phrases of 1 to 16 words to add from each file or Hub dataset"},
    )
    crossings_per_source: int = field(
        default=0,
        metadata={
            "help": "maximum of texts to add from each file or Hub dataset that join the beginning of one sentence "
            "and the end of another"
        },
    )
    crossings: list[str] = field(
        default_factory=list,
        metadata={
            "help": "NAME=NUMBER: another number of crossings for the file NAME, e.g. captions.txt=300000; none "
            "cancels those of a recipe"
        },
    )
    exclude: list[str] = field(
        default_factory=lambda: ["benchmarks"],
        metadata={
            "help": "benchmarks (hashes of MTEB's English ones), benchmarks:FOLDER, files or patterns: drop sentences "
            "that occur in them; none keeps all"
        },
    )


@dataclass
class DataArguments:
    """Data: the labelled texts."""

    train_file: str = field(default="", metadata={"help": "table of labelled texts to train on"})
    dev_file: str = field(
        default="",
        metadata={"help": "table that decides when to stop (default: a tenth of the training texts)"},
    )
    test_file: str = field(default="", metadata={"help": "table to measure the result on"})
    text_column: str = field(default="", metadata={"help": "column of the texts (default: guessed)"})
    label_column: str = field(default="", metadata={"help": "column of the labels (default: guessed)"})
    label_separator: str = field(default="", metadata={"help": "separator of the labels of one text"})
