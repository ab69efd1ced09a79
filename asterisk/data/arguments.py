"""Command-line arguments of the data room; this module imports nothing heavy."""

from dataclasses import dataclass

from asterisk.core.arguments import option


@dataclass
class FileFormat:
    """Files: overrides for the detected format of text files and tables."""

    separator: str = option(
        "",
        "separator of the columns of CSV files: comma, semicolon, tab, pipe or one character (default: "
        "found in the first lines)",
    )
    encoding: str = option("", "encoding of text files, such as cp1252 (default: found in the file)")
    quoting: str = option(
        "",
        "quotation marks in CSV files: none, they are plain text; double, they always quote, even where quoted text "
        'looks like rows; backslash, as double, and \\" is a plain mark (default: they quote, but stray ones are '
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
        "largest number of texts added from each source that join the beginning of one sentence and the "
        "end of another",
    )
    crossings: list[str] = option(
        [],
        "NAME=NUMBER: number of crossings for the file NAME, such as captions.txt=300000; none clears a recipe's list",
    )
    rows_per_shard: int = option(
        0, "sentences per shard, of which each task of a cluster embeds whole ones (0: 65,536)"
    )
    exclude: list[str] = option(
        ["benchmarks"],
        "sentences to leave out: benchmarks (hashes of MTEB's English ones), benchmarks:FOLDER, files or patterns; "
        "none leaves out nothing",
    )


@dataclass
class DataArguments(FileFormat):
    """Data: the labelled texts that a head is trained and measured on."""

    train_file: str = option("", "table of labelled texts to train on", required=True)
    dev_file: str = option("", "table for early stopping (default: a tenth of the training texts)")
    test_file: str = option("", "table to measure the result on")
    text_column: str = option("", "column of the texts (default: guessed)")
    label_column: str = option(
        "", "column of the labels, or A,B,C for one column of zeros and ones per label (default: guessed)"
    )
    label_separator: str = option("", "separator of the labels in a string that holds several")
    label_names: str = option("", "A,B,C: names of the labels in vectors of zeros and ones, in order")
