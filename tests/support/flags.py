"""Flags of short trainings."""

from pathlib import Path

# The small run's benchmark in its tables.
SMALL_STS = "some captions"


def distillation_flags(material: Path, output: Path) -> dict[str, object]:
    teacher = {"--teacher": f"vectors:{material / 'vectors.npy'}", "--corpus": material / "texts.txt"}
    sizes = {"--hidden_size": 32, "--num_hidden_layers": 1, "--intermediate_size": 32, "--projection_dim": 16}
    pace = {"--batch_size": 32, "--heldout": 20, "--eval_steps": 2, "--checkpoint_steps": 2, "--resume": True}
    student = {"--tokenizer": "trained:300", "--table": "random", "--mixed_precision": "no"}
    return {**teacher, **sizes, **pace, **student, "--output_dir": output}


def small_run_flags(material: Path, output: Path) -> dict[str, object]:
    """The flags of the small run that the session's tests share."""
    files: dict[str, object] = {"--teacher": material / "teacher", "--corpus": material / "texts.txt"}
    files["--sts_test"] = f"{SMALL_STS}={material / 'sts.jsonl'}"
    pace = {"--batch_size": 64, "--num_epochs": 2, "--eval_steps": 20, "--heldout": 200}
    return {"--config": "recipes/demo.yaml", **files, **pace, "--output_dir": output}


def head_flags(material: Path, output: Path, mode: str) -> dict[str, object]:
    data = {"--model": material / "model", "--train_file": material / "labelled.csv", "--mode": mode}
    return {**data, "--num_epochs": 3, "--learning_curve": False, "--resume": True, "--output_dir": output}
