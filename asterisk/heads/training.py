"""The training of classification heads: repeats with other draws and seeds, resumed where they were stopped.

Three modes. frozen: the backbone embeds each text once, and the head alone learns from these embeddings
([`asterisk.heads.frozen`]). lora and full: the backbone learns as well ([`asterisk.heads.fine_tuning`]).

Training stops when the development loss has stopped falling, and the weights of its lowest value are kept; where the
backbone learns, it is the loss at the best temperature.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from asterisk.core.checksums import file_hash, verify_checksums, write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import atomic_file, make_folder, read_json, remove_folder, write_json
from asterisk.core.processes import this_process
from asterisk.data.labels import REGRESSION, LabelledTexts, label_array
from asterisk.data.splits import HeadData, draw
from asterisk.heads.arguments import MODES, HeadSettings
from asterisk.heads.frozen import Examples, train_on_embeddings
from asterisk.heads.head_model import (
    count_truncated,
    load_classifier,
    logits_of_embeddings,
    longest_input,
    predict_logits,
    renew_head,
    shift_outputs,
)
from asterisk.heads.losses import make_loss
from asterisk.heads.scores import Scores, score
from asterisk.models.checkpoints import save_student
from modeling_asterisk import AsteriskForSequenceClassification

# Where a run keeps what it needs to be resumed.
TRAINING = "training"
BEST = "best"
REPEATS = "repeats.json"
EMBEDDINGS = "embeddings.npy"
EMBEDDINGS_DIGEST = "embeddings.json"

# Shares of the training texts that the learning curve is measured at, below all.
CURVE_SHARES = (1 / 8, 1 / 4, 1 / 2)


@dataclass
class Repeat:
    """One training: with which seed, on how many texts, for how long, and what it reached.

    `losses` are the development losses after each pass; of lora and full at the best temperature.
    """

    seed: int
    texts: int
    passes: float
    seconds: float
    losses: list[float]
    development: Scores | None
    test: Scores | None


class HeadTraining:
    """All repeats of a training, in a folder from which it is resumed."""

    def __init__(self, spec: str, data: HeadData, arguments: HeadSettings, folder: Path):
        """Loads the model, to say what is wrong with it.

        Args:
            spec: The model to train.
            data: What it is trained on.
            arguments: As [`asterisk.heads.arguments.resolve_arguments`] gives them.
            folder: Of the run.

        Raises:
            UserError: The model cannot be loaded, or samples are to be drawn of numbers.
        """
        self.spec, self.data, self.arguments, self.folder = spec, data, arguments, folder / TRAINING
        self.model, self.tokenizer, self.keeps_head = load_classifier(spec, data.names, data.problem_type)
        # A model that is trained further keeps its classes' order.
        own_names: Any = self.model.config.id2label
        self.names = [own_names[index] for index in range(len(data.names))]
        self.draws = [self._draw(repeat) for repeat in range(arguments.repeats)]
        self.vectors: torch.Tensor | None = None
        self.row_of: dict[str, int] = {}

    def load_to_train(self, scale: tuple[float, float]) -> AsteriskForSequenceClassification:
        """A copy of the model, on its device, giving numbers on the scale of [`HeadTraining.label_scale`]; with a new
        head, unless its own is for these classes."""
        backbone = self.model.asterisk
        # One that does not learn is shared.
        model = copy.deepcopy(self.model, {id(backbone): backbone} if self.arguments.mode == "frozen" else {})
        if self.arguments.dropout is not None:
            model.config.classifier_dropout = self.arguments.dropout
            model.classifier.dropout.p = self.arguments.dropout  # type: ignore[union-attr, assignment]
        if not self.keeps_head:
            renew_head(model)
        else:
            shift_outputs(model.classifier, -scale[0] / scale[1], 1 / scale[1])
        return model.to(this_process().device)  # type: ignore[arg-type]

    def _draw(self, repeat: int) -> LabelledTexts:
        few = self.arguments.samples_per_label
        return self.data.train if few is None else draw(self.data.train, few, self.arguments.seed + repeat)

    def truncated(self, data: LabelledTexts) -> float:
        """The share of texts that are longer than the model takes."""
        return count_truncated(data.texts, self.tokenizer, self.model) / len(data)

    def run(self, on_repeat: Callable[[Repeat], None]) -> list[Repeat]:
        """Trains what is not trained yet. The best on development, or else the first, is the `best_model`.

        Args:
            on_repeat: Called after each training.

        Raises:
            UserError: An embedding or a loss is not finite.
        """
        make_folder(self.folder)
        record = self.folder / REPEATS
        done = [Repeat(**entry) for entry in read_json(record)] if record.exists() else []
        for repeat in range(len(done), self.arguments.repeats):
            own_folder = self.folder / f"repeat-{repeat}"
            model, line = self._train(self.draws[repeat], self.arguments.seed + repeat, own_folder)
            if not done or _rank(line) > max(map(_rank, done)):
                save_student(model, self.tokenizer, self.best_folder)
                write_checksums(self.best_folder)
            done.append(line)
            write_json(record, [dataclasses.asdict(entry) for entry in done])
            on_repeat(line)
        return done

    @property
    def best_folder(self) -> Path:
        """Where the best model is."""
        return self.folder / BEST

    def best_model(self) -> AsteriskForSequenceClassification:
        """The best model.

        Raises:
            UserError: It was damaged since it was trained.
        """
        verify_checksums(self.best_folder, f"delete {self.folder} and run the command again")
        return AsteriskForSequenceClassification.from_pretrained(self.best_folder)

    def adapters_of(self, repeat: int) -> Path:
        """Where the adapters of a repeat are, if they are kept."""
        from asterisk.heads.adapters import adapters_folder

        return adapters_folder(self.folder / f"repeat-{repeat}")

    def learning_curve(self, repeat: Repeat) -> list[dict[str, Any]]:
        """What a repeat would have reached with fewer texts, and did with all: `texts` and scores on test, or else
        development; none without either. Parts that leave no two labels are left out.
        """
        if not (self.arguments.learning_curve and repeat.development):
            return []
        train = self.draws[repeat.seed - self.arguments.seed]
        order = np.random.default_rng(repeat.seed).permutation(len(train))
        lines = []
        for share in CURVE_SHARES:
            part = train.at(np.sort(order[: int(share * len(train))]))
            if len({str(label) for label in part.labels}) < 2:
                continue
            own_folder = self.folder / f"curve-{len(part)}"
            lines.append(self._train(part, repeat.seed, own_folder)[1])
        return [{"texts": line.texts, **(line.test or line.development or {})} for line in [*lines, repeat]]

    def predict(self, model: AsteriskForSequenceClassification, texts: Sequence[str]) -> np.ndarray:
        """Logits (texts, classes), float32; of a regression the numbers themselves."""
        if self.arguments.mode == "frozen":
            return logits_of_embeddings(model, self._vectors_of(texts)).numpy()
        return predict_logits(model, texts, self.tokenizer).numpy()

    def _train(
        self, train: LabelledTexts, seed: int, folder: Path
    ) -> tuple[AsteriskForSequenceClassification, Repeat]:
        """Trains once, on from the last checkpoint in the folder, which is removed in the end."""
        start = time.perf_counter()
        set_seed(seed)
        mean, scale = self.label_scale(train)
        model = self.load_to_train((mean, scale))
        model, losses, passes = self._fit(model, train, (mean, scale), folder, seed)
        shift_outputs(model.classifier, mean, scale)
        remove_folder(folder)
        line = Repeat(
            seed=seed,
            texts=len(train),
            passes=round(passes, 2),
            seconds=time.perf_counter() - start,
            losses=losses,
            development=self._score(model, self.data.development),
            test=self._score(model, self.data.test),
        )
        return model, line

    def _fit(
        self,
        model: AsteriskForSequenceClassification,
        train: LabelledTexts,
        scale: tuple[float, float],
        folder: Path,
        seed: int,
    ) -> tuple[AsteriskForSequenceClassification, list[float], float]:
        """The trained model, the development loss after each pass, and the number of passes."""
        labels = self.scaled_labels(train, scale)
        loss = make_loss(self.data.problem_type, labels, self.arguments.class_weights)
        development = self.data.development
        if self.arguments.mode == "frozen":
            parts = [self.examples(part, scale) if part else None for part in (train, development)]
            assert parts[0] is not None
            return model, *train_on_embeddings(model.classifier, parts[0], parts[1], loss, self.arguments, seed)
        from asterisk.heads.fine_tuning import fine_tune, last_checkpoint  # the Trainer takes seconds to import

        own, other = self.tokenized(train, scale), self.tokenized(development, scale) if development else None
        if last_checkpoint(folder) is None:
            self.prepare(model, train, scale, self.arguments, seed)
        return fine_tune(model, own, other, loss, self.data.problem_type, self.arguments, folder, seed)

    def prepare(
        self,
        model: AsteriskForSequenceClassification,
        train: LabelledTexts,
        scale: tuple[float, float],
        arguments: HeadSettings,
        seed: int,
    ) -> None:
        """What precedes fine-tuning: labels are contrasted, if asked for; and with few texts a new head learns alone.

        Few texts are few steps, of which a head of random weights would need most to be of use to the backbone (Kumar
        et al. 2022, arXiv:2202.10054). With many, a head that fits the vectors as they are only stands in the way.
        """
        if self.keeps_head or len(train) >= arguments.head_first * len(self.names):
            return
        parts = [
            Examples(
                torch.from_numpy(model.asterisk.encode(part.texts, tokenizer=self.tokenizer)),
                self.scaled_labels(part, scale),
            )
            for part in (train, self.data.development)
            if part
        ]
        loss = make_loss(self.data.problem_type, parts[0].labels, arguments.class_weights)
        alone = dataclasses.replace(arguments, **dataclasses.asdict(MODES["frozen"]))
        train_on_embeddings(model.classifier, parts[0], parts[1] if len(parts) > 1 else None, loss, alone, seed)

    def label_scale(self, train: LabelledTexts) -> tuple[float, float]:
        """What numbers are learned as multiples of, less their mean: mean and standard deviation; else 0 and 1."""
        if self.data.problem_type != REGRESSION:
            return 0.0, 1.0
        labels = label_array(train, self.names)
        return float(labels.mean()), float(labels.std()) or 1.0

    def scaled_labels(self, data: LabelledTexts, scale: tuple[float, float]) -> torch.Tensor:
        """Labels as `label_array` gives them, numbers on the scale of [`HeadTraining.label_scale`]."""
        labels = label_array(data, self.names)
        if self.data.problem_type == REGRESSION:
            labels = ((labels - scale[0]) / scale[1]).astype(np.float32)
        return torch.from_numpy(labels)

    def examples(self, data: LabelledTexts, scale: tuple[float, float]) -> Examples:
        """Of frozen: embeddings and labels. Every text that any repeat needs is embedded once."""
        return Examples(self._vectors_of(data.texts), self.scaled_labels(data, scale))

    def _vectors_of(self, texts: Sequence[str]) -> torch.Tensor:
        # Also of a run that goes on after its trainings: the model itself gives them not quite bit for bit.
        if self.vectors is None:
            self.vectors = self._embedded()
        return self.vectors[[self.row_of[text] for text in texts]]

    def tokenized(self, data: LabelledTexts, scale: tuple[float, float]) -> Any:
        """Of the other modes: token ids and labels, as [`asterisk.heads.token_rows.TokenizedRows`]."""
        from asterisk.heads.token_rows import TokenizedRows

        limit = {"truncation": True, "max_length": longest_input(self.tokenizer, self.model)}
        encoded = self.tokenizer(data.texts, return_attention_mask=False, return_token_type_ids=False, **limit)
        return TokenizedRows(encoded["input_ids"], self.scaled_labels(data, scale))

    def _embedded(self) -> torch.Tensor:
        parts = [own.texts for own in (*self.draws, self.data.development, self.data.test) if own]
        parts += [self.data.development_none, self.data.test_none]
        distinct = list(dict.fromkeys(text for part in parts for text in part))
        self.row_of = {text: row for row, text in enumerate(distinct)}
        cache, digest = self.folder / EMBEDDINGS, self.folder / EMBEDDINGS_DIGEST
        # What is damaged is made again.
        if cache.exists() and read_json(digest, required=False) == file_hash(cache):
            return torch.from_numpy(np.load(cache))
        backbone = self.model.asterisk.to(this_process().device)  # type: ignore[arg-type]
        vectors = backbone.encode(distinct, tokenizer=self.tokenizer)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            text = distinct[int(np.flatnonzero(~finite)[0])]
            raise UserError(f"{self.spec} gives a vector that is not finite for the text {text[:60]!r}.")
        make_folder(self.folder)
        with atomic_file(cache) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
        write_json(digest, file_hash(cache))
        return torch.from_numpy(vectors)

    def _score(self, model: AsteriskForSequenceClassification, data: LabelledTexts | None) -> Scores | None:
        if data is None:
            return None
        return score(self.predict(model, data.texts), label_array(data, self.names), data.problem_type)


def best_repeat(repeats: Sequence[Repeat]) -> int:
    """Which repeat is the best on development; the first of those that are alike."""
    return max(range(len(repeats)), key=lambda index: (_rank(repeats[index]), -index))


def _rank(repeat: Repeat) -> tuple[float, float]:
    """The higher the better: the first score on development, then its loss; all are alike without development."""
    if repeat.development is None:
        return 0.0, 0.0
    first = next(iter(repeat.development.values()))
    return float("-inf") if first is None else first, -min(repeat.losses)
