"""A published folder behind HTTP, by onnxruntime alone."""
