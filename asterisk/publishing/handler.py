"""Answer the requests of a Hugging Face Inference Endpoint.

{"inputs": "a text"} returns one answer, {"inputs": ["several", "texts"]} a list of answers.
An embedding model answers with embeddings. Optional: {"parameters": {"normalize": false, "truncate_dim": 64}}.
A classifier answers with all labels and their scores, best first. Optional: {"parameters": {"top_k": 1}}.
A wrong request raises a ValueError; the endpoint answers it with status 400 and the message.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast, pipeline

BATCH = 64
MAX_TEXTS = 4_096

EMBEDDING_PARAMETERS = {"normalize": bool, "truncate_dim": int}
CLASSIFIER_PARAMETERS = {"top_k": int, "function_to_apply": str}
FUNCTIONS = ("sigmoid", "softmax", "none")


class EndpointHandler:
    """Loaded once by the endpoint with the path of this folder, then called with the body of each request."""

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
        """Answer one request.

        Raises:
            ValueError: The request does not have the form described above.
        """
        inputs, parameters = self._read(data)
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not texts:
            return []
        if self.is_classifier:
            answers = self.classify(texts, batch_size=BATCH, truncation=True, **{"top_k": None, **parameters})
        else:
            answers = self.model.encode(
                texts,
                batch_size=BATCH,
                truncate_dim=parameters.get("truncate_dim"),
                normalize_embeddings=parameters.get("normalize", True),
            ).tolist()
        return answers[0] if isinstance(inputs, str) else answers

    def _read(self, data: dict[str, Any]) -> tuple[str | list[str], dict[str, Any]]:
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError('The request must be a JSON object with "inputs": a text or a list of texts.')
        inputs, parameters = data["inputs"], data.get("parameters") or {}
        if not isinstance(inputs, (str, list)):
            raise ValueError(f'"inputs" must be a text or a list of texts, not {type(inputs).__name__}.')
        if isinstance(inputs, list) and len(inputs) > MAX_TEXTS:
            raise ValueError(f'"inputs" may hold at most {MAX_TEXTS:,} texts, not {len(inputs):,}.')
        for number, text in enumerate([inputs] if isinstance(inputs, str) else inputs):
            if not isinstance(text, str):
                raise ValueError(f'"inputs" must hold texts, but number {number} is {type(text).__name__}.')
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError('"inputs" holds half of a surrogate pair, which is not a character.') from None
        known = CLASSIFIER_PARAMETERS if self.is_classifier else EMBEDDING_PARAMETERS
        if not isinstance(parameters, dict) or not set(parameters) <= set(known):
            raise ValueError(f'"parameters" may hold {" and ".join(known)}, not {parameters!r}.')
        for name, value in parameters.items():
            if type(value) is not known[name]:
                raise ValueError(f'"{name}" must be of type {known[name].__name__}, not {value!r}.')
        if parameters.get("function_to_apply", "none") not in FUNCTIONS:
            raise ValueError(f'"function_to_apply" must be one of {", ".join(FUNCTIONS)}.')
        return inputs, parameters
