"""The library behind the entry points: from text and a teacher to a published and served model."""
