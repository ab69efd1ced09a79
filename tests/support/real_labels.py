"""Tables whose labels real tools write in different ways; JSON, Parquet and saved datasets."""

from tests.support.real_file import SEVERAL, THREE, TWO, TWO_LABELS, RealFile


def vectors(first: str, second: str) -> str:
    """JSON lines of two texts with these labels."""
    return "\n".join(f'{{"text": "{text}", "labels": {own}}}' for text, own in zip(TWO, (first, second), strict=True))


NAMES = {"label_names": "billing,technical,praise"}

FILES_OF_LABELS = {
    "Labels": [
        RealFile(
            "written_numbers.csv",
            "numbers and truth values in CSV stay as they are written",
            texts=["0800", "1e3", "TRUE", "00001"],
            labels=["00001", "007", "00001", "1e3"],
        ),
        RealFile(
            "decimal_comma.csv",
            "numbers with a decimal comma",
            texts=["Black screen", "Works", "Fine"],
            labels=[0.5, 4.75, 5.0],
            note="read as decimal numbers",
        ),
        RealFile("lists.jsonl", "lists of labels", texts=THREE, labels=[*SEVERAL[:2], []]),
        RealFile(
            "stringified_lists.csv",
            "lists of labels as text",
            texts=THREE,
            labels=[*SEVERAL[:2], []],
            note="are read as lists",
        ),
        RealFile("numpy_lists.csv", "NumPy's lists as text", refusal="a list without commas"),
        RealFile(
            "truth_arrays.csv",
            "NumPy's vectors of truth values as text",
            refusal="row 0 of column 'labels' holds '[ True False]', a list without commas",
            content="text,labels\nBlack screen,[ True False]\nBilled twice,[False  True]\n",
        ),
        RealFile(
            "arrays.csv",
            "arrays as text",
            refusal="""row 0 of column 'labels' holds "array(['billing'])", which is no list that can be read""",
            content="text,labels\nBilled twice,array(['billing'])\nFine,array(['praise'])\n",
        ),
        RealFile(
            "bare_lists.csv",
            "lists without quotation marks",
            refusal="row 0 of column 'labels' holds '[billing, technical]', which is no list that can be read",
            content='text,labels\nBilled twice,"[billing, technical]"\nFine,[praise]\n',
        ),
        RealFile(
            "brackets.csv",
            "labels in brackets",
            TWO,
            ["[technical]", "(billing)"],
            content="text,label\nBlack screen,[technical]\nBilled twice,(billing)\n",
        ),
        RealFile(
            "vectors.jsonl", "vectors of zeros and ones", refusal="name its 3 labels in order with --label_names"
        ),
        RealFile("vectors.jsonl", "the same, named", texts=THREE, labels=SEVERAL, flags=NAMES),
        RealFile("truth_vectors.jsonl", "vectors of truth values", refusal="name its 2 labels in order"),
        RealFile(
            "texts.jsonl",
            "vectors of zeros and ones as text, named",
            TWO,
            [["technical"], ["billing", "praise"]],
            flags=NAMES,
            content=vectors('["0", "1", "0"]', '["1.0", "0", "True"]'),
        ),
        RealFile(
            "floats.jsonl",
            "vectors of decimal numbers, named",
            TWO,
            [["technical"], ["billing", "praise"]],
            flags=NAMES,
            content=vectors("[0.0, 1.0, 0.0]", "[1.0, 0.0, 1.0]"),
        ),
        RealFile(
            "gap.jsonl",
            "a vector with a gap",
            refusal="row 1 of column 'labels' holds [1, None, 1] instead of a vector",
            flags=NAMES,
            content=vectors("[0, 1, 0]", "[1, null, 1]"),
        ),
        RealFile(
            "objects.jsonl",
            "an object of labels",
            refusal="row 0 of column 'labels' holds {'a': 1.0} instead of a label",
            content=vectors('{"a": 1.0}', '{"a": 0.0}'),
        ),
        RealFile("broken_vector.jsonl", "a vector of another width", refusal="row 1 of column 'labels'", flags=NAMES),
        RealFile("vectors_as_text.csv", "vectors as text", refusal="give its separator with --label_separator"),
        RealFile(
            "vectors_as_text.csv",
            "vectors as text, named",
            texts=THREE,
            labels=SEVERAL,
            flags={**NAMES, "label_separator": ","},
        ),
        RealFile(
            "one_column_per_label.csv",
            "one column per label, as `pandas.get_dummies` writes",
            texts=THREE,
            labels=SEVERAL,
            note="one column of zeros and ones per label: billing, technical, praise",
        ),
        RealFile(
            "text_between.csv",
            "the same, the text between the labels",
            TWO,
            [["billing"], ["praise"]],
            note="one column of zeros and ones per label: billing, praise",
            content="billing,text,praise\n1.0,Black screen,0.0\n0.0,Billed twice,1.0\n",
        ),
        RealFile(
            "known_name.csv",
            "one column per label, one of them named like a column of labels",
            refusal="cannot be guessed; name one of tweet, question, topic",
            content="tweet,question,topic\nBlack screen,0,1\nBilled twice,1,0\n",
        ),
        RealFile(
            "joined.csv",
            "several labels in one cell",
            TWO,
            ["billing; technical", "billing"],
            note="'billing; technical' is read as one label; --label_separator ';'",
            content="text,label\nBlack screen,billing; technical\nBilled twice,billing\n",
        ),
        RealFile(
            "not_available.csv",
            "a word among decimal numbers",
            THREE,
            ["4.5", "n/a", "2.5"],
            note="Labels such as '4.5' are read as classes, not as numbers, because of 'n/a'",
            content="text,label\nBlack screen,4.5\nBilled twice,n/a\nFine,2.5\n",
        ),
        RealFile(
            "missing_words.csv",
            "NA, None and null are words",
            ["NA", "null", "None"],
            ["None", "NA", "null"],
            content="text,label\nNA,None\nnull,NA\nNone,null\n",
        ),
        RealFile(
            "zeros_and_ones.csv",
            "one column per label, named",
            texts=["Nice", "Stupid idea", "You fool"],
            labels=[[], ["toxic"], ["toxic", "insult"]],
            flags={"label_column": "toxic,insult"},
        ),
    ],
    "JSON, Parquet and datasets": [
        RealFile("records.json", "a list of objects, as pandas writes"),
        RealFile("data_object.json", '`{"data": [...]}`'),
        RealFile("pandas_columns.json", "columns, as pandas writes by default"),
        RealFile("pandas_split.json", "columns and data, as pandas writes with orient='split'"),
        RealFile(
            "rows_by_number.json",
            "rows by number, as pandas writes with orient='index'",
            TWO,
            TWO_LABELS,
            content='{"0": {"text": "Black screen", "label": "technical"}, '
            '"1": {"text": "Billed twice", "label": "billing"}}',
        ),
        RealFile(
            "rows_by_name.json",
            "rows by name",
            TWO,
            TWO_LABELS,
            content='{"a1": {"text": "Black screen", "label": "technical"}, '
            '"b2": {"text": "Billed twice", "label": "billing"}}',
        ),
        RealFile(
            "objects.json",
            "an object of objects that may be rows or columns",
            refusal="which may be rows or columns; write a list of objects",
            content='{"a1": {"review": "Black screen", "topic": "technical"}, '
            '"b2": {"review": "Billed twice", "topic": "billing"}}',
        ),
        RealFile(
            "described.json",
            "a table beside other values",
            TWO,
            ["0", "1"],
            note="also holds names; only the table is read",
            content='{"names": ["technical", "billing"], "version": 1, "data": [{"text": "Black screen", "label": 0}, '
            '{"text": "Billed twice", "label": 1}]}',
        ),
        RealFile(
            "list.jsonl",
            "a list, ending .jsonl",
            refusal="write one object per line, or name the file .json if it holds a list",
            content='[{"text": "Fine", "label": "praise"},\n{"text": "Works", "label": "praise"}]\n',
        ),
        RealFile(
            "comma.jsonl",
            "commas after the objects",
            refusal="line 1 is not JSON: Extra data at character 36; write one object per line",
            content='{"text": "Fine", "label": "praise"},\n{"text": "Works", "label": "praise"}\n',
        ),
        RealFile(
            "splits.json",
            "several tables in one object",
            refusal="it holds several tables: train, test",
            content='{"train": [{"text": "a", "label": "x"}], "test": [{"text": "b", "label": "y"}]}',
        ),
        RealFile(
            "lines.ndjson",
            "an object per line, ending .ndjson",
            ["Fine"],
            ["praise"],
            content='{"text": "Fine", "label": "praise"}\n',
        ),
        RealFile(
            "keys.jsonl",
            "a key twice in one object",
            refusal="line 1 is not JSON: an object has several values for one of the keys text, label",
            content='{"text": "Fine", "label": "praise", "label": "size"}\n',
        ),
        RealFile("class_label.parquet", "class numbers with the names that `datasets` stores"),
        RealFile("saved_dataset", "a folder of `save_to_disk`"),
        RealFile("saved_splits", "a folder of `save_to_disk` with splits", note="train is read"),
    ],
}
