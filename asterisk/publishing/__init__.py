"""A trained checkpoint into a Hub folder: files for every consumer, proof that they agree, a card, and the upload."""
