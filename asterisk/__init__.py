"""The workshop behind the entry points: corpus, teacher, store, student, distillation, evaluation."""
