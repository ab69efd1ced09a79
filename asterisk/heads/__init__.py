"""From labelled texts to a trained, calibrated and reported classification head."""
