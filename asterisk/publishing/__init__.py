"""Turn a checkpoint into a Hub folder that every consumer can read."""
