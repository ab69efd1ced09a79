"""Train a text classifier: a head on an Asterisk, trained on labelled or unlabelled texts.

    python train_head.py --model runs/demo/model --train_file train.csv --output_dir runs/mine
    python train_head.py --model M --train_file train.csv --test_file test.csv --mode full --output_dir O
    python train_head.py --model M --train_file train.csv --samples_per_label 8 --repeats 10 --output_dir O
    python train_head.py --model M --train_file texts.txt --zero_shot_labels "a,b,c" --teacher T --output_dir O

A table is a CSV, TSV, JSONL, JSON or Parquet file, a folder of them, or a Hub dataset. Labels are words or whole
numbers. A text may have several: a list, or a cell that --label_separator splits. Decimal numbers train a regression.
Without --dev_file, a tenth of the training texts is set aside for early stopping and calibration. --output_dir gets
model/ (for AutoModelForSequenceClassification and pipeline("text-classification")), adapters/ with --keep_adapters,
report.html, report.md, report.json and run.json.
"""

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import entry_point
from asterisk.core.processes import require_one_process
from asterisk.heads.arguments import TrainHeadArguments


@entry_point
def main() -> None:
    """Parse the arguments and train."""
    require_one_process()
    arguments = parse_arguments(TrainHeadArguments, __doc__ or "")
    from asterisk.heads.run import train_head  # imports torch and transformers, which --help does not need

    train_head(arguments)


if __name__ == "__main__":
    main()
