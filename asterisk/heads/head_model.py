"""An Asterisk with a head for given classes, ready to be trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.models.checkpoints import load_asterisk
from asterisk.models.resolve import loading, resolve_model
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification
from modeling_asterisk.modeling_asterisk import AsteriskClassificationHead


def load_classifier(
    spec: str, names: Sequence[str], problem_type: str
) -> tuple[AsteriskForSequenceClassification, PreTrainedTokenizerFast, bool]:
    """Load an Asterisk with a head for the classes `names`.

    The stored head and its class order are kept if the classes match; otherwise a new head is created. A kept head's
    temperature is merged into its weights, and its thresholds are dropped, because training chooses new ones.

    Returns:
        The model, its tokenizer, and whether the stored head was kept.

    Raises:
        UserError: There is no such model, it is not an Asterisk, or its weights or tokenizer are missing or damaged.
    """
    location = resolve_model(spec)
    config = _stored_config(spec, location)
    stored = _stored_names(config, problem_type)
    keeps_head = set(stored) == set(names)
    names = stored if keeps_head else names
    model, tokenizer = load_asterisk(
        spec,
        location,
        AsteriskForSequenceClassification,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        problem_type=problem_type,
        temperature=1.0,
        thresholds=None,
        none_threshold=None,
        new_head=not keeps_head,
    )
    if keeps_head:
        shift_outputs(model.classifier, 0.0, 1 / config.get("temperature", 1.0))
    else:
        renew_head(model)
    return model.float(), tokenizer, keeps_head


def _stored_config(spec: str, location: str) -> dict[str, Any]:
    """Return the content of config.json, after checking that it is valid and an Asterisk's."""
    with loading(f"The model {spec}"):
        stored = PreTrainedConfig.get_config_dict(location)[0]
        if stored.get("model_type") == AsteriskConfig.model_type:
            AsteriskConfig.from_dict(dict(stored))  # refuses invalid values that loading would replace
    if not stored:
        raise UserError(f"The model folder {spec} has no config.json; give one that train_distill.py wrote.")
    if stored.get("model_type") != AsteriskConfig.model_type:
        raise UserError(
            f"{spec} is not an Asterisk, but a model of type {stored.get('model_type')!r}; give a folder that "
            "train_distill.py or train_head.py wrote."
        )
    return stored


def _stored_names(config: dict[str, Any], problem_type: str) -> list[str]:
    """Return the classes of the stored head; an empty list without a head for this problem type."""
    is_classifier = AsteriskForSequenceClassification.__name__ in (config.get("architectures") or [])
    if not is_classifier or config.get("problem_type") != problem_type:
        return []
    return [name for _, name in sorted((int(index), name) for index, name in (config.get("id2label") or {}).items())]


def renew_head(model: AsteriskForSequenceClassification) -> None:
    """Replace the head by a new one with random weights."""
    model.classifier = AsteriskClassificationHead(model.config)
    model.classifier.apply(model._init_weights)


@torch.no_grad()
def shift_outputs(head: nn.Module, shift: float, scale: float) -> None:
    """Change the last layer so that outputs are multiplied by `scale`, then increased by `shift`."""
    head.out_proj.weight.mul_(float(scale))  # type: ignore[union-attr, operator]
    head.out_proj.bias.mul_(float(scale)).add_(float(shift))  # type: ignore[union-attr, operator]


def predict_logits(
    model: AsteriskForSequenceClassification, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast
) -> torch.Tensor:
    """Return the logits of texts, (texts, classes), float32, on the CPU; for a regression, the predicted numbers."""
    return logits_of_embeddings(model, torch.from_numpy(model.asterisk.encode(texts, tokenizer=tokenizer)))


@torch.inference_mode()
def logits_of_embeddings(model: AsteriskForSequenceClassification, embeddings: torch.Tensor) -> torch.Tensor:
    """Return the logits of embeddings (texts, dimensions): (texts, classes), float32, on the CPU."""
    model.eval()
    return model(sentence_embeddings=embeddings.to(model.device)).logits.float().cpu()
