"""Text and labels in: readers, sentences, deduplication, decontamination, corpus, labels, splits."""
