"""Publish the exit at depth 0 as a static model: a model2vec folder that sentence-transformers also loads."""

import shutil
from pathlib import Path

import numpy as np

from asterisk.core.checksums import write_checksums
from asterisk.core.errors import UserError
from asterisk.core.files import atomic_folder
from asterisk.models.static import load_static, static_model
from asterisk.publishing.checkpoint import Checkpoint
from asterisk.publishing.resources import resource

# The lowest accepted cosine to the checkpoint's embeddings.
TOLERANCE = 0.9999

CARD = """---
library_name: model2vec
license: {license}
language: {languages}
pipeline_tag: sentence-similarity
tags: [model2vec, sentence-transformers, static-embeddings, feature-extraction]
---

# {name}

The token table of an Asterisk as a static embedding model: {tokens:,} token vectors of {dimensions} dimensions, whose
mean is the embedding of a text. It reads no context and no word order. It is several times as fast as the whole
Asterisk, and less accurate.

```python
from model2vec import StaticModel

model = StaticModel.from_pretrained("{repo_id}")
embeddings = model.encode(["It rains.", "Rain is falling."])  # (2, {dimensions}), float32, unit norm
```

`SentenceTransformer("{repo_id}")` gives the same vectors.
"""


def build_static_folder(
    checkpoint: Checkpoint, output: Path, texts: list[str], repo_id: str, license: str, languages: list[str]
) -> None:
    """Write the folder of a static model; it appears only if it is complete and verified.

    Args:
        checkpoint: An Asterisk without layers, from `load_checkpoint(folder, layers=0)`.
        output: The folder.
        texts: Texts on which the folder must agree with the checkpoint.
        repo_id: The Hub id that the card's snippets load.
        license: The Hub's name of the weights' licence.
        languages: The Hub's names of the texts' languages.

    Raises:
        UserError: The checkpoint has a head, or the static model differs from it.
    """
    if checkpoint.is_classifier:
        raise UserError(f"{checkpoint.folder} has a classification head, which a static model cannot hold.")
    table = checkpoint.backbone.embeddings.embed_tokens.weight.detach().float().numpy()
    with atomic_folder(output) as folder:
        static_model(table, checkpoint.tokenizer).save_pretrained(folder)
        cosines = (load_static(str(folder)).encode(texts) * checkpoint.output(texts)).sum(axis=1)
        if (lowest := float(np.min(cosines))) < TOLERANCE:
            raise UserError(f"The static model differs from {checkpoint.folder}: its lowest cosine is {lowest:.6f}.")
        shutil.copy(resource("LICENSE"), folder / "LICENSE")
        card = CARD.format(
            name=output.name,
            license=license,
            languages=f"[{', '.join(languages)}]",
            tokens=len(table),
            dimensions=table.shape[1],
            repo_id=repo_id,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        write_checksums(folder)
