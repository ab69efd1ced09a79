"""vLLM and SGLang run the model with attention of their own, on texts laid end to end in one row.

vLLM 0.32.0, `vllm/model_executor/models/transformers`: `base.py` takes a model for an encoder if a module has
`is_causal=False`; `fusers/attention.py` finds attention by the one call of `ALL_ATTENTION_FUNCTIONS` in a forward, and
needs a whole number `layer_idx` and a `scaling` that `self` holds. SGLang 0.5.23, `sglang/srt/models/transformers.py`:
the same `is_causal`, `attention_instances[module.layer_idx]`, and `_supports_attention_backend`.
"""

import ast
import inspect
import textwrap
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from modeling_asterisk import AsteriskModel
from modeling_asterisk.modeling_asterisk import AsteriskAttention
from tests.support.models import make_model

LENGTHS = (5, 9, 3)


def attend_within_texts(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    lengths: tuple[int, ...],
    layers: list[int],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of a server: it knows where each text starts, and gets no mask."""
    assert attention_mask is None
    assert query.shape[0] == 1
    layers.append(module.layer_idx)  # type: ignore[arg-type]
    parts = zip(*(each.split(lengths, dim=2) for each in (query, key, value)), strict=True)
    rows = [torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in parts]
    return torch.cat(rows, dim=2).transpose(1, 2).contiguous(), None


def test_texts_end_to_end_in_one_row_get_the_vectors_that_each_gets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    texts = [torch.randint(0, model.config.vocab_size, (1, length)) for length in LENGTHS]
    expected = torch.cat([model(text).last_hidden_state for text in texts], dim=1)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "server", attend_within_texts)
    model.config._attn_implementation = "server"
    layers: list[int] = []
    with torch.no_grad():
        found = model(
            input_ids=torch.cat(texts, dim=1),
            position_ids=torch.cat([torch.arange(length) for length in LENGTHS])[None],
            use_cache=False,
            return_dict=False,
            lengths=LENGTHS,
            layers=layers,
        )[0]
    torch.testing.assert_close(found, expected.detach())
    assert layers == list(range(model.config.num_hidden_layers))


def test_attention_is_found_as_vllm_finds_it() -> None:
    model = make_model()
    tree = ast.parse(textwrap.dedent(inspect.getsource(AsteriskAttention.forward)))
    names = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and "ALL_ATTENTION_FUNCTIONS" in ast.dump(node)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]
    assert len(calls) == 1
    (scaling,) = [keyword.value for keyword in calls[0].keywords if keyword.arg == "scaling"]
    assert ast.unparse(scaling) == "self.scaling"
    modules = [module for module in model.modules() if isinstance(module, AsteriskAttention)]
    assert [module.layer_idx for module in modules] == [0, 1]
    assert all(type(module.scaling) is float and module.is_causal is False for module in modules)
    assert AsteriskModel._supports_attention_backend
