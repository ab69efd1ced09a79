"""Tables look alike on a page and in Markdown, whatever their cells contain."""

from asterisk.reporting.page import Table, percent, shortened


def test_markdown_tables_are_aligned_and_escaped() -> None:
    table = Table(["name", "score"], [["a|b <i>", "1.0"], ["x" * 300, "2.0"]], "lr")
    head, rule, first, second = table.markdown().splitlines()
    assert (head, rule) == ("| name | score |", "| --- | ---: |")
    assert first == r"| a\|b &lt;i&gt; | 1.0 |"
    assert len(second) < 280


def test_numbers_and_texts_are_formatted() -> None:
    assert (percent(0.123), percent(None)) == ("12.3%", "–")
    assert shortened("word " * 100).endswith("word …")
