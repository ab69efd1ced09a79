"""The command-line arguments for text and labels; this module imports nothing heavy."""

from dataclasses import dataclass

from asterisk.core.arguments import option


@dataclass
class FileFormat:
    """Files: overrides for the detected format of text files and tables."""

    separator: str = option(
        "",
        "column separator of CSV files: comma, semicolon, tab, pipe or one character (default: detected from the "
        "first lines)",
    )
    encoding: str = option("", "encoding of text files, such as cp1252 (default: detected)")
    quoting: str = option(
        "",
        "quotation marks in CSV files: none (they are plain text), double (they always quote, even where quoted text "
        'looks like rows) or backslash (like double, and \\" is a literal mark) (default: they quote; stray ones are '
        "refused)",
    )


@dataclass
class CorpusArguments(FileFormat):
    """Corpus: the texts to train on, as options of `asterisk.data.corpus.build_corpus`."""

    corpus: list[str] = option(
        [], "text files (one sentence per line), tables, folders, glob patterns or Hub datasets"
    )
    text_column: str = option("text", "column of the tables that holds the text")
    split_sentences: str | None = option(None, "split texts into sentences by the rules of this language, such as en")
    min_words: int = option(1, "leave out sentences with fewer words")
    sentences_per_source: int = option(0, "largest number of sentences drawn from each file or Hub dataset (0: all)")
    documents_per_source: int = option(
        0, "largest number of texts of 2 to 12 successive sentences added from each source"
    )
    phrases_per_source: int = option(0, "largest number of phrases of 1 to 16 words added from each source")
    crossings_per_source: int = option(
        0,
        "largest number of texts added from each source that join the beginning of one sentence to the end of another",
    )
    crossings: list[str] = option(
        [],
        "NAME=NUMBER: number of crossings for the file NAME, such as captions.txt=300000; none clears a recipe's list",
    )
    rows_per_shard: int = option(0, "sentences per shard, the unit of work of a cluster's tasks (0: 65,536)")
    exclude: list[str] = option(
        ["benchmarks"],
        "sentences to leave out: benchmarks (MTEB's English benchmarks, as hashes), benchmarks:FOLDER, files or "
        "patterns; none leaves out nothing",
    )


@dataclass
class DataArguments(FileFormat):
    """Data: the labelled texts that a head is trained and measured on."""

    train_file: str = option("", "table of labelled texts to train on", required=True)
    dev_file: str = option("", "table for early stopping (default: a tenth of the training texts)")
    test_file: str = option("", "table of labelled texts to measure the classifier on")
    text_column: str = option("", "column of the texts (default: guessed)")
    label_column: str = option(
        "", "column of the labels, or A,B,C for one column of zeros and ones per label (default: guessed)"
    )
    label_separator: str = option("", "separator of several labels in one string")
    label_names: str = option("", "A,B,C: names of the labels in vectors of zeros and ones, in order")
