"""A tiny untrained Asterisk for the tests of heads."""

from pathlib import Path

import pytest

from tests.support.labelled import write_tiny_asterisk


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    return write_tiny_asterisk(tmp_path_factory.mktemp("tiny") / "model")
