"""Training, calibration and reports of classification heads."""
