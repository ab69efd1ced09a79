"""Distil a sentence-embedding teacher into a tiny Asterisk.

    python train_distill.py --config recipes/demo.yaml
    python train_distill.py --config recipes/demo.yaml --corpus my_texts.txt --output_dir runs/mine
    accelerate launch --num_processes 2 train_distill.py --config recipes/demo.yaml

The text becomes a corpus of distinct sentences, the teacher embeds it once into a store, the student learns from the
store, and a table compares the teacher, its untrained static model and the student. Every step keeps its results on
disk, and --resume continues after the last finished one. OUTPUT_DIR holds model/ (the student), results.md and .json,
report/ (agreement of student and teacher on unseen text), curves.jsonl and .png, checkpoints/ and run.json (the
recipe).
"""

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import entry_point
from asterisk.distillation.arguments import DistillationArguments


@entry_point
def main() -> None:
    arguments = parse_arguments(DistillationArguments, __doc__ or "")
    from asterisk.distillation.run import distil  # imports torch

    distil(arguments)


if __name__ == "__main__":
    main()
