"""Training of heads, with repeats (different draws and seeds) and resumption.

In mode frozen, the backbone embeds each text once and the head alone is trained on the embeddings
([`asterisk.heads.frozen`]). In modes lora and full, the backbone is trained as well ([`asterisk.heads.fine_tuning`]).

Training stops when the development loss stops falling, and keeps the weights with the lowest loss. Modes lora and full
measure the loss at the best temperature.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
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
from asterisk.heads.adapters import adapters_folder
from asterisk.heads.arguments import MODES, HeadSettings
from asterisk.heads.frozen import Examples, train_on_embeddings
from asterisk.heads.head_model import (
    load_classifier,
    logits_of_embeddings,
    predict_logits,
    renew_head,
    shift_outputs,
)
from asterisk.heads.losses import make_loss
from asterisk.heads.report import CurvePoint, Repeat
from asterisk.heads.scores import MetricValues, score
from asterisk.heads.token_rows import TokenizedRows
from asterisk.models.checkpoints import load_asterisk, save_student
from asterisk.models.tokenizers import max_input_length
from modeling_asterisk import AsteriskForSequenceClassification

# The folder that a resumed run reads, and its files.
TRAINING = "training"
BEST = "best"
REPEATS = "repeats.json"
EMBEDDINGS = "embeddings.npy"
EMBEDDINGS_DIGEST = "embeddings.json"

# Shares of the training texts in the learning curve, besides the full set.
CURVE_SHARES = (1 / 8, 1 / 4, 1 / 2)

# Mean and standard deviation of a regression's labels.
Scale = tuple[float, float]


class HeadTraining:
    """All repeats of a training, with a folder from which they can be resumed."""

    def __init__(self, spec: str, data: HeadData, settings: HeadSettings, folder: Path):
        """Load the model, and draw the training texts of each repeat.

        Args:
            spec: The model as the user names it.
            data: The texts.
            settings: The arguments of the training.
            folder: The folder of the run.

        Raises:
            UserError: The model cannot be loaded, or samples_per_label is set for a regression.
        """
        self.spec, self.data, self.settings, self.folder = spec, data, settings, folder / TRAINING
        self.model, self.tokenizer, self.keeps_head = load_classifier(spec, data.names, data.problem_type)
        # A model that already has a head for these classes keeps their order.
        id2label: dict[Any, str] = self.model.config.id2label or {}
        self.names = [id2label[index] for index in range(len(data.names))]
        count, seeds = settings.samples_per_label, range(settings.seed, settings.seed + settings.repeats)
        self.draws = [data.train if count is None else draw(data.train, count, seed) for seed in seeds]
        self.vectors: torch.Tensor | None = None
        self.row_of: dict[str, int] = {}

    def truncated(self, data: LabelledTexts) -> float:
        """Return the share of texts that the model truncates."""
        encoded = self.tokenizer(data.texts, return_attention_mask=False, return_token_type_ids=False)
        longest = max_input_length(self.tokenizer, self.model.config)
        return sum(len(ids) > longest for ids in encoded["input_ids"]) / len(data)

    def run(self, on_repeat: Callable[[Repeat], None]) -> list[Repeat]:
        """Train the unfinished repeats, call `on_repeat` after each, save the best model, and return all repeats."""
        make_folder(self.folder)
        record = self.folder / REPEATS
        repeats = [Repeat(**entry) for entry in read_json(record)] if record.exists() else []
        for index in range(len(repeats), self.settings.repeats):
            seed = self.settings.seed + index
            model, repeat = self._train(self.draws[index], seed, self.folder / f"repeat-{index}")
            if not repeats or _rank(repeat) > max(map(_rank, repeats)):
                save_student(model, self.tokenizer, self.best_folder)
                write_checksums(self.best_folder)
            repeats.append(repeat)
            write_json(record, [dataclasses.asdict(entry) for entry in repeats])
            on_repeat(repeat)
        return repeats

    @property
    def best_folder(self) -> Path:
        """The folder of the best model."""
        return self.folder / BEST

    def best_model(self) -> AsteriskForSequenceClassification:
        """Load the best model; raise a [`UserError`] if it was damaged after the training."""
        verify_checksums(self.best_folder, f"delete {self.folder} and run the command again")
        return load_asterisk(self.best_folder, self.best_folder, AsteriskForSequenceClassification)[0]

    def adapters_of(self, index: int) -> Path:
        """Return the folder of a repeat's adapters, which exists if they are kept."""
        return adapters_folder(self.folder / f"repeat-{index}")

    def learning_curve(self, repeat: Repeat) -> list[CurvePoint]:
        """Train on parts of a repeat's texts, with the same settings.

        Returns:
            The scores on test, or else on development, for each part with at least two labels and for all texts.
            Empty without development texts or if the settings disable the curve.
        """
        if not (self.settings.learning_curve and repeat.development):
            return []
        train = self.draws[repeat.seed - self.settings.seed]
        order = np.random.default_rng(repeat.seed).permutation(len(train))
        repeats = []
        for share in CURVE_SHARES:
            part = train.at(np.sort(order[: int(share * len(train))]))
            if len({str(label) for label in part.labels}) >= 2:
                repeats.append(self._train(part, repeat.seed, self.folder / f"curve-{len(part)}")[1])
        return [CurvePoint(entry.texts, entry.test or entry.development or {}) for entry in [*repeats, repeat]]

    def predict(self, model: AsteriskForSequenceClassification, texts: Sequence[str]) -> np.ndarray:
        """Return logits (texts, classes), float32; for a regression, the predicted numbers (texts, 1)."""
        if self.settings.mode == "frozen":
            return logits_of_embeddings(model, self._vectors_of(texts)).numpy()
        return predict_logits(model, texts, self.tokenizer).numpy()

    def _train(
        self, train: LabelledTexts, seed: int, folder: Path
    ) -> tuple[AsteriskForSequenceClassification, Repeat]:
        """Train once, from the folder's last checkpoint if there is one, and remove the folder at the end."""
        start = time.perf_counter()
        set_seed(seed)
        mean, deviation = self._label_scale(train)
        model = self._model_to_train((mean, deviation))
        model, losses, passes = self._fit(model, train, (mean, deviation), folder, seed)
        shift_outputs(model.classifier, mean, deviation)
        remove_folder(folder)
        repeat = Repeat(
            seed=seed,
            texts=len(train),
            passes=round(passes, 2),
            seconds=time.perf_counter() - start,
            losses=losses,
            development=self._score(model, self.data.development),
            test=self._score(model, self.data.test),
        )
        return model, repeat

    def _model_to_train(self, scale: Scale) -> AsteriskForSequenceClassification:
        """Copy the model to its device, with a new head unless it already has one for these classes."""
        backbone = self.model.asterisk
        # A frozen backbone is shared, not copied.
        model = copy.deepcopy(self.model, {id(backbone): backbone} if self.settings.mode == "frozen" else {})
        if self.settings.dropout is not None:
            model.config.classifier_dropout = self.settings.dropout
            model.classifier.dropout.p = self.settings.dropout  # type: ignore[union-attr, assignment]
        if self.keeps_head:
            shift_outputs(model.classifier, -scale[0] / scale[1], 1 / scale[1])
        else:
            renew_head(model)
        return model.to(this_process().device)  # type: ignore[arg-type]

    def _fit(
        self, model: AsteriskForSequenceClassification, train: LabelledTexts, scale: Scale, folder: Path, seed: int
    ) -> tuple[AsteriskForSequenceClassification, list[float], float]:
        """Return the trained model, the development loss after each pass, and the number of passes."""
        settings, development = self.settings, self.data.development
        loss = make_loss(self.data.problem_type, self._scaled_labels(train, scale), settings.class_weights)
        if settings.mode == "frozen":
            examples = self._examples(train, scale, self._vectors_of)
            return model, *train_on_embeddings(model.classifier, *examples, loss, settings, seed)
        from asterisk.heads.fine_tuning import HeadTrainer, last_checkpoint  # importing the Trainer takes seconds

        is_small = len(train) < settings.head_first * len(self.names)
        if is_small and not self.keeps_head and last_checkpoint(folder) is None:
            # Few texts give few steps, and a random head takes most of them before it helps the backbone (Kumar et al.
            # 2022, arXiv:2202.10054). With many texts, a head fitted to the initial vectors slows learning.
            examples = self._examples(
                train, scale, lambda texts: torch.from_numpy(model.asterisk.encode(texts, tokenizer=self.tokenizer))
            )
            head_settings = dataclasses.replace(settings, **MODES["frozen"])
            train_on_embeddings(model.classifier, *examples, loss, head_settings, seed)
        rows = self._tokenized(train, scale)
        development_rows = self._tokenized(development, scale) if development else None
        problem_type = self.data.problem_type
        return HeadTrainer(model, rows, development_rows, loss, problem_type, settings, folder, seed).fit()

    def _examples(
        self, train: LabelledTexts, scale: Scale, embed: Callable[[Sequence[str]], torch.Tensor]
    ) -> tuple[Examples, Examples | None]:
        """Return the embeddings and labels of the training and development texts."""

        def examples(part: LabelledTexts) -> Examples:
            return Examples(embed(part.texts), self._scaled_labels(part, scale))

        development = self.data.development
        return examples(train), examples(development) if development else None

    def _label_scale(self, train: LabelledTexts) -> Scale:
        """Return the mean and standard deviation of a regression's labels; 0 and 1 for classes."""
        if self.data.problem_type != REGRESSION:
            return 0.0, 1.0
        labels = label_array(train, self.names)
        return float(labels.mean()), float(labels.std()) or 1.0

    def _scaled_labels(self, data: LabelledTexts, scale: Scale) -> torch.Tensor:
        """Return the labels; those of a regression are standardised."""
        labels = label_array(data, self.names)
        if self.data.problem_type == REGRESSION:
            labels = ((labels - scale[0]) / scale[1]).astype(np.float32)
        return torch.from_numpy(labels)

    def _tokenized(self, data: LabelledTexts, scale: Scale) -> TokenizedRows:
        limit = {"truncation": True, "max_length": max_input_length(self.tokenizer, self.model.config)}
        encoded = self.tokenizer(data.texts, return_attention_mask=False, return_token_type_ids=False, **limit)
        return TokenizedRows(encoded["input_ids"], self._scaled_labels(data, scale))

    def _vectors_of(self, texts: Sequence[str]) -> torch.Tensor:
        # A resumed run also reads the stored vectors, since recomputing them can change their last bits.
        if self.vectors is None:
            self.vectors = self._embed()
        return self.vectors[[self.row_of[text] for text in texts]]

    def _embed(self) -> torch.Tensor:
        """Embed each distinct text once, or read the embeddings of an earlier call."""
        parts = [part.texts for part in (*self.draws, self.data.development, self.data.test) if part]
        parts += [self.data.development_none, self.data.test_none]
        distinct = list(dict.fromkeys(text for part in parts for text in part))
        self.row_of = {text: row for row, text in enumerate(distinct)}
        cache, digest = self.folder / EMBEDDINGS, self.folder / EMBEDDINGS_DIGEST
        # Recompute the cache if its checksum does not match.
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

    def _score(self, model: AsteriskForSequenceClassification, data: LabelledTexts | None) -> MetricValues | None:
        if data is None:
            return None
        return score(self.predict(model, data.texts), label_array(data, self.names), data.problem_type)


def best_repeat(repeats: Sequence[Repeat]) -> int:
    """Return the index of the best repeat on development; the first if several are equal."""
    return max(range(len(repeats)), key=lambda index: (_rank(repeats[index]), -index))


def _rank(repeat: Repeat) -> tuple[float, float]:
    """Return the first development score, then the negative loss; constant without development texts."""
    if repeat.development is None:
        return 0.0, 0.0
    first = next(iter(repeat.development.values()))
    return float("-inf") if first is None else first, -min(repeat.losses)
