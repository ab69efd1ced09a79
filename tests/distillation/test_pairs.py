"""Labelled and scored pairs are found as rows of the corpus."""

import json
from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.data.corpus import build_corpus
from asterisk.distillation.pairs import find_pairs, find_scored_pairs, read_pairs, read_scored_pairs, write_texts

ROWS = [
    {"anchor": "How do I cook rice?", "positive": "Cooking rice", "negative": "How do I cook\n pasta?"},
    {"anchor": "Is it cold?", "positive": "is it cold", "negative": "Is it hot?"},
    {"anchor": "What is rain?", "positive": "Why does it rain?", "negative": "What is snow?"},
]


@pytest.fixture
def table(tmp_path: Path) -> str:
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(tmp_path / "pairs.jsonl")


def test_pairs_are_found_as_rows_of_the_corpus(table: str, tmp_path: Path) -> None:
    texts = read_pairs([table], ["anchor", "positive", "negative"])
    write_texts([text for column in texts.columns for text in column], tmp_path / "pairs.txt")
    (tmp_path / "a.txt").write_text("Something else.\nCOOKING RICE!\n")
    corpus = build_corpus(
        [str(tmp_path / "a.txt"), str(tmp_path / "pairs.txt")], tmp_path / "corpus", rows_per_shard=3
    )
    pairs = find_pairs(texts, corpus)
    rows = [text for index in range(len(corpus.rows_per_shard)) for text in corpus.shard(index)]
    assert pairs.negatives is not None
    found = [[rows[row] for row in column] for column in (pairs.anchors, pairs.positives, pairs.negatives)]
    # The second pair is one sentence twice.
    assert found == [
        ["How do I cook rice?", "What is rain?"],
        ["COOKING RICE!", "Why does it rain?"],
        ["How do I cook pasta?", "What is snow?"],
    ]


def test_wrong_pairs_are_refused(table: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two or three columns"):
        read_pairs([table], ["anchor"])
    with pytest.raises(UserError, match="no column 'query'"):
        read_pairs([table], ["query", "positive"])
    (tmp_path / "null.jsonl").write_text('{"anchor": "a", "positive": null}\n')
    with pytest.raises(UserError, match="row 0 of column 'positive' holds None"):
        read_pairs([str(tmp_path / "null.jsonl")], ["anchor", "positive"])
    (tmp_path / "a.txt").write_text("Something else.\n")
    with pytest.raises(UserError, match="None of the 3 labelled pairs"):
        find_pairs(
            read_pairs([table], ["anchor", "positive"]), build_corpus([str(tmp_path / "a.txt")], tmp_path / "c")
        )


def test_scored_pairs_keep_the_order_of_each_table(tmp_path: Path) -> None:
    (tmp_path / "sts.jsonl").write_text(
        "".join(
            json.dumps({"sentence1": first, "sentence2": second, "score": score}) + "\n"
            for first, second, score in [
                ("A cat.", "A dog.", 1.5),
                ("A cat.", "A tomcat.", 4),
                ("It rains.", "Rain", 5),
            ]
        )
    )
    (tmp_path / "nli.csv").write_text("premise,hypothesis,label\nA cat.,An animal.,0\nA cat.,A dog.,2\n")
    sources = [str(tmp_path / "sts.jsonl"), str(tmp_path / "nli.csv") + "#premise,hypothesis,-label"]
    texts = read_scored_pairs(sources)
    (tmp_path / "a.txt").write_text("A dog.\nAn animal.\nA cat.\nA tomcat.\n")
    corpus = build_corpus([str(tmp_path / "a.txt")], tmp_path / "corpus")
    pairs = find_scored_pairs(texts, corpus)
    assert list(zip(pairs.first, pairs.second, pairs.scores, pairs.tables, strict=True)) == [
        (2, 0, 1.5, 0),
        (2, 3, 4.0, 0),
        (2, 1, 0.0, 1),
        (2, 0, -2.0, 1),
    ]
    for wrong, message in (("#a,b", "must name three columns"), ("#premise,hypothesis,grade", "no column 'grade'")):
        with pytest.raises(UserError, match=message):
            read_scored_pairs([str(tmp_path / "nli.csv") + wrong])
    (tmp_path / "bad.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": null}\n')
    with pytest.raises(UserError, match="row 0 of column 'score' holds None instead of a number"):
        read_scored_pairs([str(tmp_path / "bad.jsonl")])
