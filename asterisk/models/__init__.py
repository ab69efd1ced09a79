"""Load, save and encode with any model: one loader per kind."""
