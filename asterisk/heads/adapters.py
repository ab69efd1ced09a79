"""Low-rank adapters of a classifier (Hu et al. 2021, arXiv:2106.09685), and their folder for peft."""

import warnings
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder, read_json, write_json
from asterisk.models.resolve import resolve_model
from modeling_asterisk import AsteriskForSequenceClassification

# The matrices of every layer, and the projection if there is one. LoRA on the token table would be slow.
LORA_TARGETS = ("asterisk.layers.", "asterisk.projection")
HEAD = "classifier"

ADAPTERS = "adapters"
ADAPTERS_CARD = """---
library_name: peft
pipeline_tag: text-classification
tags: [asterisk, text-classification, custom_code]
---

# Adapters and head of a text classifier on an Asterisk

```python
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

base, adapters = "{base}", "FOLDER_OR_ID"
config = AutoConfig.from_pretrained(adapters, trust_remote_code=True)
model = AutoModelForSequenceClassification.from_pretrained(
    base, config=config, trust_remote_code=True, ignore_mismatched_sizes=True
)
model = PeftModel.from_pretrained(model, adapters).merge_and_unload()
classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(base))
print(classify("A text.", top_k=3))
```
"""


def with_adapters(model: AsteriskForSequenceClassification, rank: int) -> nn.Module:
    """Wrap the model so that only LoRA adapters of this rank and the head are trained.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UserError("--mode lora needs the peft package: pip install peft.") from None
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.05,
        target_modules=[
            name
            for name, module in model.named_modules()
            if name.startswith(LORA_TARGETS) and isinstance(module, nn.Linear)
        ],
        modules_to_save=[HEAD],
    )
    with warnings.catch_warnings():
        # peft reads an attribute that transformers has renamed.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def adapters_folder(folder: Path) -> Path:
    """Return the folder of a training's adapters, which remains when the training's own folder is removed."""
    return folder.with_name(f"{folder.name}-{ADAPTERS}")


def save_adapters(model: AsteriskForSequenceClassification, kept: Path, base: str, folder: Path) -> None:
    """Save the adapters and the head of a finished classifier, without its backbone, as a folder for peft.

    Args:
        model: The finished classifier.
        kept: The folder of the adapters that were merged into the model ([`adapters_folder`]).
        base: The model that the adapters were trained on, as the user names it.
        folder: The folder to write.
    """
    location = resolve_model(base)
    with atomic_folder(folder) as temporary:
        # The configuration holds the classes, temperature and thresholds, and is saved with its code.
        model.config.save_pretrained(temporary)
        settings = read_json(kept / "adapter_config.json")
        write_json(temporary / "adapter_config.json", {**settings, "base_model_name_or_path": location})
        weights = load_file(kept / "adapter_model.safetensors")
        # Save the finished head, because the head of a regression is rescaled to the labels after training.
        for name, weight in model.classifier.state_dict().items():
            weights[f"base_model.model.{HEAD}.{name}"] = weight.contiguous()
        save_file(weights, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        (temporary / "README.md").write_text(ADAPTERS_CARD.format(base=location), encoding="utf-8")
        # safetensors creates files that only their owner can read.
        (temporary / "adapter_model.safetensors").chmod((temporary / "README.md").stat().st_mode)
