"""Serve a published folder over HTTP with onnxruntime, without torch."""
