"""A checkpoint becomes a Hub folder that every consumer reads."""
