"""An Asterisk with a head for given classes: loaded, or made anew, to be trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from asterisk.core.errors import UserError
from asterisk.models.checkpoints import load_asterisk
from asterisk.models.resolve import resolve_model
from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification
from modeling_asterisk.modeling_asterisk import AsteriskClassificationHead


def load_classifier(
    spec: str, names: Sequence[str], problem_type: str
) -> tuple[AsteriskForSequenceClassification, PreTrainedTokenizerFast, bool]:
    """An Asterisk with a head for these classes, its tokenizer, and whether the head is the model's own.

    It is if it is for the same classes, which then keep their order; or else a new one. A head's own temperature goes
    into its weights, and its thresholds are dropped: both are found anew after training.

    Args:
        spec: A folder, Hub id or `package:NAME`.
        names: The classes.
        problem_type: As in [`asterisk.data.labels`].

    Raises:
        UserError: There is no such model, it is no Asterisk, or has no weights or tokenizer.
    """
    location = resolve_model(spec)
    try:
        stored = PreTrainedConfig.get_config_dict(location)[0]
        if stored.get("model_type") == AsteriskConfig.model_type:
            AsteriskConfig.from_dict(dict(stored))  # refuses what below is replaced
    except Exception as error:  # whatever reading a stranger's configuration raises, the user wants one sentence
        raise UserError(f"The model {spec} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    if not stored:
        raise UserError(f"The model folder {spec} has no config.json; give one that train_distill.py wrote.")
    if stored.get("model_type") != AsteriskConfig.model_type:
        raise UserError(
            f"{spec} is not an Asterisk, but of model type {stored.get('model_type')!r}; give a folder that "
            "train_distill.py or train_head.py wrote."
        )
    own = _stored_names(stored, problem_type)
    keeps_head = own is not None and set(own) == set(names)
    names = own if keeps_head and own else names
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
        shift_outputs(model.classifier, 0.0, 1 / stored.get("temperature", 1.0))
    else:
        renew_head(model)
    return model.float(), tokenizer, keeps_head


def renew_head(model: AsteriskForSequenceClassification) -> None:
    """Gives a model a new head, with random weights."""
    model.classifier = AsteriskClassificationHead(model.config)
    model.classifier.apply(model._init_weights)


def _stored_names(config: dict[str, Any], problem_type: str) -> list[str] | None:
    """The classes that a stored model has a head for; None if it has none for such a problem."""
    is_classifier = AsteriskForSequenceClassification.__name__ in (config.get("architectures") or [])
    if not is_classifier or config.get("problem_type") != problem_type or not config.get("id2label"):
        return None
    return [name for _, name in sorted((int(index), name) for index, name in config["id2label"].items())]


@torch.no_grad()
def shift_outputs(head: nn.Module, shift: float, scale: float) -> None:
    """Makes a head give `scale` times its outputs, plus `shift`."""
    head.out_proj.weight.mul_(float(scale))  # type: ignore[union-attr, operator]
    head.out_proj.bias.mul_(float(scale)).add_(float(shift))  # type: ignore[union-attr, operator]


def longest_input(tokenizer: PreTrainedTokenizerFast, model: AsteriskForSequenceClassification) -> int:
    """How many tokens of a text the model takes, at most."""
    positions = model.config.max_position_embeddings if model.config.position_encoding == "learned" else 1_000_000
    return min(tokenizer.model_max_length, positions)


def count_truncated(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, model: AsteriskForSequenceClassification
) -> int:
    """How many texts have more tokens than the model takes."""
    longest = longest_input(tokenizer, model)
    encoded = tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False)
    return sum(len(ids) > longest for ids in encoded["input_ids"])


def predict_logits(
    model: AsteriskForSequenceClassification, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast
) -> torch.Tensor:
    """Logits (texts, classes) of texts, on the CPU; of a regression the numbers themselves."""
    return logits_of_embeddings(model, torch.from_numpy(model.asterisk.encode(texts, tokenizer=tokenizer)))


@torch.inference_mode()
def logits_of_embeddings(model: AsteriskForSequenceClassification, embeddings: torch.Tensor) -> torch.Tensor:
    """The same of (texts, projection_dim) embeddings."""
    model.eval()
    return model(sentence_embeddings=embeddings.to(model.device)).logits.float().cpu()
