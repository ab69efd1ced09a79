"""The model computes what its documentation promises."""

import pytest
import torch

from tests.support.models import make_classifier, make_model


@pytest.fixture
def padded() -> dict[str, torch.Tensor]:
    """Rows of 7, 3 and 0 tokens, and one padded on the left."""
    mask = torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0] * 7, [0, 0, 1, 1, 1, 1, 1]])
    ids = torch.randint(1, 31_000, mask.shape, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": mask}


def test_pooler_output_is_the_unit_norm_mean_over_the_mask(padded: dict[str, torch.Tensor]) -> None:
    outputs = make_model()(**padded)
    mask = padded["attention_mask"].unsqueeze(-1)
    for row in (0, 1, 3):
        mean = (outputs.last_hidden_state[row] * mask[row]).sum(0) / mask[row].sum()
        torch.testing.assert_close(outputs.pooler_output[row], mean / mean.norm())


@pytest.mark.parametrize(("pooling", "token"), [("cls", 2), ("last", 6)])
def test_other_poolings_take_the_first_or_last_token_of_the_mask(
    padded: dict[str, torch.Tensor], pooling: str, token: int
) -> None:
    outputs = make_model(pooling=pooling)(**padded)
    expected = torch.nn.functional.normalize(outputs.last_hidden_state[3, token], dim=-1)
    torch.testing.assert_close(outputs.pooler_output[3], expected)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_row_that_is_all_padding_gives_zeros(
    padded: dict[str, torch.Tensor], attention: str, pooling: str, dtype: torch.dtype
) -> None:
    model = make_model(pooling=pooling)
    model.set_attn_implementation(attention)
    model.to(dtype=dtype)  # type: ignore[call-arg]
    outputs = model(**padded)
    assert outputs.pooler_output.dtype == dtype
    assert torch.equal(outputs.pooler_output[2], torch.zeros(48, dtype=dtype))
    assert torch.isfinite(outputs.last_hidden_state).all()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "flex_attention"])
@pytest.mark.slow
def test_attention_implementations_agree_on_every_row(
    padded: dict[str, torch.Tensor], attention: str, is_causal: bool
) -> None:
    model = make_model(is_causal=is_causal)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(**padded).pooler_output
        model.set_attn_implementation(attention)
        torch.testing.assert_close(model(**padded).pooler_output, expected, atol=2e-6, rtol=1e-4)


def test_embedding_does_not_depend_on_padding(padded: dict[str, torch.Tensor]) -> None:
    model = make_model()
    alone = model(padded["input_ids"][1:2, :3]).pooler_output
    torch.testing.assert_close(model(**padded).pooler_output[1:2], alone)


@pytest.mark.parametrize(("is_causal", "changes"), [(False, True), (True, False)])
def test_only_bidirectional_attention_sees_later_tokens(is_causal: bool, changes: bool) -> None:
    model = make_model(is_causal=is_causal)
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[5, 6, 7, 9]])
    before, after = model(first).last_hidden_state[0, 0], model(second).last_hidden_state[0, 0]
    assert torch.allclose(before, after, atol=1e-6) is not changes


@pytest.mark.parametrize(("position_encoding", "changes"), [("learned", True), ("none", False)])
def test_only_learned_positions_tell_the_order(position_encoding: str, changes: bool) -> None:
    model = make_model(position_encoding=position_encoding)
    before, after = (model(torch.tensor([ids])).pooler_output for ids in ([5, 6, 7, 8], [8, 7, 6, 5]))
    assert torch.allclose(before, after, atol=1e-6) is not changes


def test_positions_beyond_those_learned_are_refused() -> None:
    model = make_model(max_position_embeddings=8)
    with pytest.raises(ValueError, match="9 positions, but this Asterisk has learned only 8"):
        model(torch.ones(1, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="11 positions"):
        model(torch.ones(1, 2, dtype=torch.long), position_ids=torch.tensor([[0, 10]]))
    make_model(max_position_embeddings=8, position_encoding="none")(torch.ones(1, 9, dtype=torch.long))


def test_hidden_states_and_attentions_come_on_request(padded: dict[str, torch.Tensor]) -> None:
    model = make_model()
    model.set_attn_implementation("eager")
    outputs = model(**padded, output_hidden_states=True, output_attentions=True)
    assert [tuple(state.shape) for state in outputs.hidden_states] == [(4, 7, 64)] * 3
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(4, 4, 7, 7)] * 2
    assert model(**padded).hidden_states is None


def test_gradient_checkpointing_gives_the_same_gradients(padded: dict[str, torch.Tensor]) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make_model().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(**padded).pooler_output[:2, 0].sum().backward()
        gradients.append(model.layers[0].mlp.up_proj.weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeds_the_same(padded: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    model = make_model()
    expected = model(**padded).pooler_output
    model.to(dtype=dtype)  # type: ignore[call-arg]
    got = model(**padded).pooler_output.float()
    cosines = torch.nn.functional.cosine_similarity(expected, got, dim=-1)
    assert cosines[[0, 1, 3]].min() > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_mode_changes_the_speed_alone(padded: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    model = make_model().to(dtype=dtype)  # type: ignore[call-arg]
    expected = model(**padded)
    with torch.inference_mode():
        got = model(**padded)
        for name in ("last_hidden_state", "pooler_output"):
            torch.testing.assert_close(got[name], expected[name], atol=1e-5, rtol=0)
        with torch.autocast("cpu", torch.bfloat16):
            assert model(**padded).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3)])
def test_batch_without_any_token_gives_zeros(attention: str, shape: tuple[int, int]) -> None:
    model = make_model()
    model.set_attn_implementation(attention)
    ids = torch.zeros(shape, dtype=torch.long)
    assert torch.equal(model(ids, attention_mask=ids).pooler_output, torch.zeros(shape[0], 48))


def test_exactly_one_kind_of_input_is_taken() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        make_model()()


# Classification


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("single_label_classification", torch.tensor([0, 2, 1, 0])),
        ("multi_label_classification", torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
        ("regression", torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
    ],
)
def test_each_problem_has_its_loss(padded: dict[str, torch.Tensor], problem_type: str, labels: torch.Tensor) -> None:
    model = make_classifier(num_labels=3, problem_type=problem_type)
    outputs = model(**padded, labels=labels)
    functional = torch.nn.functional
    expected = {
        "single_label_classification": lambda: functional.cross_entropy(outputs.logits, labels),
        "multi_label_classification": lambda: functional.binary_cross_entropy_with_logits(
            outputs.logits, labels.float()
        ),
        "regression": lambda: functional.mse_loss(outputs.logits, labels.float()),
    }[problem_type]()
    torch.testing.assert_close(outputs.loss, expected)


def test_head_takes_embeddings_computed_before(padded: dict[str, torch.Tensor]) -> None:
    model = make_classifier(num_labels=3, classifier_hidden_size=20)
    expected = model(**padded).logits
    cached = model.asterisk(**padded).pooler_output
    torch.testing.assert_close(model(sentence_embeddings=cached).logits, expected)
    vectors = model.get_input_embeddings()(padded["input_ids"])
    torch.testing.assert_close(model(inputs_embeds=vectors, attention_mask=padded["attention_mask"]).logits, expected)
    assert model.classifier.dense.out_features == 20
    with pytest.raises(ValueError, match="48 dimensions"):
        model(sentence_embeddings=cached[:, :5])
    with pytest.raises(ValueError, match="not both"):
        model(padded["input_ids"], sentence_embeddings=cached)
