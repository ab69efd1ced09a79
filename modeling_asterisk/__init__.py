"""Asterisk, a tiny GPT-style text-embedding model. Importing this package registers it with the Auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from .configuration_asterisk import AsteriskConfig
from .modeling_asterisk import AsteriskForSequenceClassification, AsteriskModel

__all__ = ["AsteriskConfig", "AsteriskForSequenceClassification", "AsteriskModel"]

AutoConfig.register("asterisk", AsteriskConfig, exist_ok=True)
AutoModel.register(AsteriskConfig, AsteriskModel, exist_ok=True)
AutoModelForSequenceClassification.register(AsteriskConfig, AsteriskForSequenceClassification, exist_ok=True)

# With an auto class known, `save_pretrained` puts the two source files beside the weights.
AsteriskConfig.register_for_auto_class()
AsteriskModel.register_for_auto_class("AutoModel")
AsteriskForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
