"""Answers the requests of a Hugging Face Inference Endpoint.

Of an embedding model, {"inputs": "a text" or ["several", "texts"]} gives one embedding or a list of them, with
{"parameters": {"normalize": false, "truncate_dim": 64}} to change them. Of a classifier it gives, for each text, the
labels with their scores, the best first, with {"parameters": {"top_k": 1}} to have fewer. A wrong request raises a
ValueError, which the service answers with status 400 and its message.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast, pipeline

BATCH = 64
MOST_TEXTS = 4_096

EMBEDDING_PARAMETERS = {"normalize": bool, "truncate_dim": int}
CLASSIFIER_PARAMETERS = {"top_k": int, "function_to_apply": str}
FUNCTIONS = ("sigmoid", "softmax", "none")


class EndpointHandler:
    """What the service makes once, with the folder of this file, and then calls with the body of each request."""

    def __init__(self, path: str = ""):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.is_classifier = "AsteriskForSequenceClassification" in (config.architectures or [])
        if self.is_classifier:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
            self.classify = pipeline(
                "text-classification", path, tokenizer=tokenizer, trust_remote_code=True, device=device
            )
        else:
            self.model = AutoModel.from_pretrained(path, trust_remote_code=True).to(device).eval()

    def __call__(self, data: dict[str, Any]) -> Any:
        """Answers one request.

        Raises:
            ValueError: The request is not of the form above.
        """
        texts, parameters = self._read(data)
        single = isinstance(texts, str)
        texts = [texts] if isinstance(texts, str) else texts
        if not texts:
            return []
        if self.is_classifier:
            answers = self.classify(texts, batch_size=BATCH, truncation=True, **{"top_k": None, **parameters})
        else:
            answers = self.model.encode(texts, batch_size=BATCH, **parameters).tolist()
        return answers[0] if single else answers

    def _read(self, data: dict[str, Any]) -> tuple[str | list[str], dict[str, Any]]:
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError('The request must be a JSON object with "inputs": a text or a list of texts.')
        texts = data["inputs"]
        if isinstance(texts, list):
            wrong = next((index for index, text in enumerate(texts) if not isinstance(text, str)), None)
            if wrong is not None:
                raise ValueError(f'"inputs" must hold texts, but number {wrong} is {type(texts[wrong]).__name__}.')
            if len(texts) > MOST_TEXTS:
                raise ValueError(f'"inputs" may hold {MOST_TEXTS:,} texts at most, not {len(texts):,}.')
        elif not isinstance(texts, str):
            raise ValueError(f'"inputs" must be a text or a list of texts, not {type(texts).__name__}.')
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            raise ValueError('"inputs" holds half of a surrogate pair, which is no character.') from None
        parameters = data.get("parameters") or {}
        known = CLASSIFIER_PARAMETERS if self.is_classifier else EMBEDDING_PARAMETERS
        if not isinstance(parameters, dict) or not set(parameters) <= set(known):
            raise ValueError(f'"parameters" may hold {" and ".join(known)}, not {parameters!r}.')
        for name, value in parameters.items():
            if not isinstance(value, known[name]) or (known[name] is int and isinstance(value, bool)):
                raise ValueError(f'"{name}" must be of type {known[name].__name__}, not {value!r}.')
        if parameters.get("function_to_apply", "none") not in FUNCTIONS:
            raise ValueError(f'"function_to_apply" must be one of {", ".join(FUNCTIONS)}.')
        return texts, parameters
