"""A corpus also holds documents, phrases and crossings of its sentences."""

from pathlib import Path

import pytest

from asterisk.core.errors import UserError
from asterisk.data.arguments import CorpusArguments
from asterisk.data.corpus import build_corpus, corpus_options
from tests.support.corpora import build, sentences


def test_documents_are_put_together_from_successive_sentences_of_a_source(tmp_path: Path) -> None:
    texts = [f"Sentence {n}." for n in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    corpus = build(tmp_path / "a.txt", tmp_path, documents_per_source=10, sentences_per_source=50)
    documents = sentences(corpus)[50:]
    assert len(documents) == corpus.counts["put together"] == 10
    assert corpus.counts["kept"] == 60
    whole = " ".join(texts)
    assert all(document in whole and 2 <= document.count("Sentence") <= 12 for document in documents)
    assert len({document.count("Sentence") for document in documents}) > 3
    with pytest.raises(UserError, match="not -1"):
        build(tmp_path / "a.txt", tmp_path, documents_per_source=-1)


def test_phrases_and_crossings_follow_the_sentences_they_are_made_of(tmp_path: Path) -> None:
    for name in "ab":
        lines = [" ".join(f"{name}{n}-{word}" for word in range(8)) for n in range(300)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    (tmp_path / "benchmark.txt").write_text("a7-3\n")
    options = {"phrases_per_source": 200, "crossings_per_source": 50, "exclude": [str(tmp_path / "benchmark.txt")]}
    corpus = build_corpus([str(tmp_path / "[ab].txt")], tmp_path / "corpus", **options)  # type: ignore[arg-type]
    texts = sentences(corpus)
    whole, made = texts[:600], texts[600:]
    assert all(len(text.split()) == 8 for text in whole)
    assert len(made) == corpus.counts["recombined"]
    assert len(made) + 600 == corpus.counts["kept"] == len(set(texts))
    assert corpus.counts["duplicate"] == 0
    assert "a7-3" not in made
    inside = [text for text in made if any(text in sentence for sentence in whole)]
    # All but the whole sentences among the phrases, which are there already.
    assert 250 < len(inside) < 400
    assert {len(text.split()) for text in inside} == set(range(1, 8))
    crossed = [text for text in made if text not in inside]
    assert len(crossed) == 100
    for text in crossed:
        origins = [word.split("-")[0] for word in text.split()]
        assert len(set(origins)) == 2 == len({origin[0] for origin in origins}) + 1
        assert sorted(origins, key=origins.index) == origins
    again = build_corpus([str(tmp_path / "[ab].txt")], tmp_path / "again", **options)  # type: ignore[arg-type]
    assert sentences(again) == texts


def test_one_file_may_be_crossed_more_often_than_the_others(tmp_path: Path) -> None:
    for name in "ab":
        lines = [" ".join(f"{name}{n}-{word}" for word in range(8)) for n in range(300)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    sources = [str(tmp_path / "[ab].txt")]
    options = {"crossings_per_source": 20, "crossings": ["b.txt=900"]}
    made = sentences(build_corpus(sources, tmp_path / "corpus", **options))[600:]  # type: ignore[arg-type]
    assert sum(text.startswith("a") for text in made) == 20
    assert sum(text.startswith("b") for text in made) > 890
    with pytest.raises(UserError, match=r"c\.txt, but no source"):
        build_corpus(sources, tmp_path / "other", crossings=["c.txt=900"])
    with pytest.raises(UserError, match="two numbers for b"):
        build_corpus(sources, tmp_path / "other", crossings=["b.txt=9", "b.txt=8"])
    assert corpus_options(CorpusArguments(crossings=["none"]))["crossings"] == []
    for wrong in ("b.txt", "b.txt=", "=5", "b.txt=-1"):
        with pytest.raises(UserError, match="NAME=NUMBER"):
            build_corpus(sources, tmp_path / "other", crossings=[wrong])
    with pytest.raises(UserError, match="other"):
        build_corpus(sources, tmp_path / "corpus", crossings_per_source=20)
