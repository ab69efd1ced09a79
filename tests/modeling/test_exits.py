"""Exits: one set of weights that serves at several depths."""

from pathlib import Path
from typing import Any

import pytest
import torch

from modeling_asterisk import AsteriskConfig, AsteriskForSequenceClassification, AsteriskModel

SIZES: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 16}


@pytest.fixture(params=[16, None], ids=["projection", "no projection"])
def model(request: pytest.FixtureRequest) -> AsteriskModel:
    torch.manual_seed(0)
    model = AsteriskModel(AsteriskConfig(**SIZES, projection_dim=request.param, exit_layers=[1, 0]))
    for name, weight in model.named_parameters():
        if name.startswith("exits."):
            torch.nn.init.normal_(weight)
    static: Any = model.exits["0"]
    static.token_mask[:3] = 0
    return model.eval()


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    mask = torch.ones(3, 7, dtype=torch.int64)
    mask[1, 4:] = 0
    return {
        "input_ids": torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(1)),
        "attention_mask": mask,
    }


def test_model_without_projection_is_as_wide_as_its_layers() -> None:
    model = AsteriskModel(AsteriskConfig(**SIZES, projection_dim=None))
    assert model(torch.tensor([[1, 2]])).pooler_output.shape == (1, 32)
    assert model(torch.tensor([[1, 2]])).last_hidden_state.shape == (1, 2, 32)
    assert not [name for name in model.state_dict() if "projection" in name]


@pytest.mark.parametrize("depth", [1, 0])
@torch.no_grad()
def test_stored_exit_is_a_model_of_its_own(
    model: AsteriskModel, inputs: dict[str, torch.Tensor], depth: int, tmp_path: Path
) -> None:
    wanted = dict(zip([1, 0], model(**inputs, output_exits=True).exit_embeddings, strict=True))[depth]
    model.save_pretrained(tmp_path / "whole")
    exit_model = AsteriskModel.from_pretrained(tmp_path / "whole", num_hidden_layers=depth)
    exit_model.save_pretrained(tmp_path / "exit")
    reloaded = AsteriskModel.from_pretrained(tmp_path / "exit")
    assert reloaded.config.num_hidden_layers == depth
    for each in (exit_model, reloaded):
        output = each(**inputs)
        torch.testing.assert_close(output.pooler_output, wanted)
        mask = inputs["attention_mask"].unsqueeze(-1)
        mean = (output.last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
        torch.testing.assert_close(torch.nn.functional.normalize(mean, dim=-1), wanted)


@torch.no_grad()
def test_exits_leave_the_whole_model_as_it_is(model: AsteriskModel, inputs: dict[str, torch.Tensor]) -> None:
    config = AsteriskConfig(**SIZES, projection_dim=model.config.projection_dim)
    plain = AsteriskModel(config).eval()
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if "exits." not in name})
    assert torch.equal(plain(**inputs).pooler_output, model(**inputs).pooler_output)
    assert torch.equal(plain(**inputs).pooler_output, model.truncated(2)(**inputs).pooler_output)


@torch.no_grad()
def test_exit_at_depth_zero_is_a_mean_of_token_rows(model: AsteriskModel, inputs: dict[str, torch.Tensor]) -> None:
    static = model.truncated(0)
    assert not static.embeddings.embed_tokens.weight[:3].any()  # special tokens
    assert list(static.state_dict()) == ["embeddings.embed_tokens.weight"]
    rows = static.embeddings.embed_tokens(inputs["input_ids"][:1]).mean(dim=1)
    torch.testing.assert_close(
        static(inputs["input_ids"][:1]).pooler_output, torch.nn.functional.normalize(rows, dim=-1)
    )


def test_depth_without_an_exit_is_refused(model: AsteriskModel) -> None:
    with pytest.raises(ValueError, match=r"no exit at depth 3; its depths are 0, 1, 2"):
        model.truncated(3)


@pytest.mark.parametrize("depth", [1, 0])
def test_head_trains_on_any_depth(model: AsteriskModel, depth: int, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "whole")
    classifier = AsteriskForSequenceClassification.from_pretrained(
        tmp_path / "whole", num_hidden_layers=depth, num_labels=3
    )
    output = classifier(torch.tensor([[1, 2]]), labels=torch.tensor([2]))
    output.loss.backward()
    assert output.logits.shape == (1, 3)
    assert classifier.asterisk.embeddings.embed_tokens.weight.grad is not None
    classifier.save_pretrained(tmp_path / "head")
    reloaded = AsteriskForSequenceClassification.from_pretrained(tmp_path / "head")
    assert reloaded.config.num_hidden_layers == depth
    torch.testing.assert_close(
        reloaded.eval()(torch.tensor([[1, 2]])).logits, classifier.eval()(torch.tensor([[1, 2]])).logits
    )
