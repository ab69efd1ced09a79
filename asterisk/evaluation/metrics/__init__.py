"""The metrics: plain functions, and scripts that wrap them for the `evaluate` library."""
