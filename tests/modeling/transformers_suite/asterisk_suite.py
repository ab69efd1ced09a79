"""The common model tests of transformers, run on Asterisk's two models.

`tests/modeling/test_transformers_suite.py` runs this file with each supported transformers version. That version and
the `tests` package from its source distribution (see `fetch.py`) are on the path. By hand, from the repository root:

    PYTHONPATH=.cache/transformers-suite/5.23.0:. .venv/bin/python -m pytest -c /dev/null --noconftest \
        tests/modeling/transformers_suite/asterisk_suite.py
    PYTHONPATH=.cache/transformers-suite/5.4.0/site:.cache/transformers-suite/5.4.0:. .venv/bin/python -m pytest \
        -c /dev/null --noconftest tests/modeling/transformers_suite/asterisk_suite.py
"""

import inspect
import unittest
from pathlib import Path

import torch
import transformers
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask
from transformers.models.auto import modeling_auto

from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

# These tables tell the common tests what a class is and which labels it takes. Only this process sees the entries.
modeling_auto.MODEL_MAPPING_NAMES["asterisk"] = "AsteriskModel"
modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES["asterisk"] = "AsteriskForSequenceClassification"


class AsteriskModelTester:
    """Makes the tiny configurations and inputs that the common tests ask for; no two sizes are equal."""

    batch_size = 5
    seq_length = 7
    is_training = True
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4

    def get_config(self) -> AsteriskConfig:
        """Returns a configuration of about twenty thousand parameters."""
        return AsteriskConfig(
            vocab_size=99,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=37,
            projection_dim=24,
            max_position_embeddings=64,
            classifier_hidden_size=20,
            num_labels=3,  # type: ignore[call-arg]
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[AsteriskConfig, dict[str, torch.Tensor]]:
        """Returns a configuration, and random `input_ids` and `attention_mask` of shape (batch_size, seq_length)."""
        config = self.get_config()
        shape = [self.batch_size, self.seq_length]
        return config, {
            "input_ids": ids_tensor(shape, config.vocab_size),
            "attention_mask": random_attention_mask(shape),
        }


class AsteriskSuite(ModelTesterMixin, unittest.TestCase):
    """Every common test; those that a model like this has no use for skip themselves."""

    all_model_classes = (AsteriskModel, AsteriskForSequenceClassification)

    def setUp(self) -> None:
        self.model_tester = AsteriskModelTester()

    def test_config(self) -> None:
        ConfigTester(self, config_class=AsteriskConfig, hidden_size=32, projection_dim=24).run_common_tests()

    def test_transformers_is_the_release_that_the_tests_came_with(self) -> None:
        assert transformers.__version__ == Path(inspect.getfile(ModelTesterMixin)).parents[1].name
