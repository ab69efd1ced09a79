"""The student's tokenizer and initial weights, objectives, the training loop, checkpoints and curves."""
