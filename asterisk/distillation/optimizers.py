"""The optimizers of a student, and gradient clipping that also handles a token table's sparse gradient."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from asterisk.distillation.arguments import LoopArguments
from asterisk.distillation.muon import Muon
from asterisk.models.parameter_groups import parameter_groups
from modeling_asterisk import AsteriskModel


def make_table_sparse(student: Any, arguments: LoopArguments, device: torch.device) -> nn.Parameter | None:
    """Make the gradient of the student's token table sparse where that is faster, and return the table.

    A batch reads few rows of the table. On a CPU, a dense gradient and an update of all rows would take a third of a
    step's time. On GPUs, the gradient stays dense, because NCCL cannot reduce sparse gradients.

    Returns:
        The table, or None if its gradient stays dense.
    """
    if device.type != "cpu" or arguments.torch_compile or not isinstance(student, AsteriskModel):
        return None
    table: Any = student.embeddings.embed_tokens
    table.sparse = True
    return table.weight


def make_optimizers(
    student: nn.Module, sparse_table: nn.Parameter | None, arguments: LoopArguments, mixed_precision: str
) -> list[torch.optim.Optimizer]:
    """Return AdamW, Muon for the matrices of an Asterisk's layers, and SparseAdam for a sparse token table."""
    matrices = []
    if arguments.muon_factor and isinstance(student, AsteriskModel):
        matrices = [weight for weight in student.layers.parameters() if weight.dim() == 2]
    other_ids = {id(weight) for weight in [sparse_table, *matrices]}
    dense = [weight for weight in student.parameters() if id(weight) not in other_ids]
    groups = parameter_groups(dense, arguments.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=arguments.learning_rate, fused=True)]
    if matrices:
        dtype = torch.bfloat16 if mixed_precision == "bf16" else torch.float32
        optimizers.append(Muon(matrices, lr=arguments.learning_rate * arguments.muon_factor, dtype=dtype))
    if sparse_table is not None:
        optimizers.append(torch.optim.SparseAdam([sparse_table], lr=arguments.learning_rate))
    return optimizers


def clip_gradients(
    accelerator: Accelerator, model: nn.Module, sparse_table: nn.Parameter | None, max_norm: float
) -> None:
    """Scale the gradients down to a total norm of `max_norm`."""
    if sparse_table is None:
        accelerator.clip_grad_norm_(model.parameters(), max_norm)
        return
    # PyTorch's clipping refuses sparse gradients, but accepts the values of a coalesced one.
    assert sparse_table.grad is not None
    sparse_table.grad = sparse_table.grad.coalesce()
    dense = (weight.grad for weight in model.parameters() if weight is not sparse_table)
    gradients = [sparse_table.grad._values(), *(gradient for gradient in dense if gradient is not None)]
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1))
