"""Several processes that train one model: `torchrun --nproc-per-node 2 -m models.codec.train ...`.

A recipe that is run so must draw batches by `rank`, or all processes see the same ones. On a CPU two processes of one
thread each get further than one of two threads: most of an update is in small steps.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


class Together:
    """The processes of one run, as torchrun tells of them in the environment; alone, one does nothing here."""

    def __init__(self) -> None:
        self.size, self.rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")

    @property
    def first(self) -> bool:
        """Whether this is the one that saves and reports."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any of them."""
        if self.size == 1:
            return flag
        flags = torch.tensor([float(flag)])
        distributed.all_reduce(flags)
        return bool(flags[0] > 0)

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give all processes the mean of their gradients; a parameter that got none counts as zero."""
        if self.size == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in learning:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient) / self.size)

    @torch.no_grad()
    def agree(self, model: nn.Module) -> None:
        """Let all go on with the first one's parameters and buffers: what each learns apart from gradients differs."""
        if self.size == 1:
            return
        tensors: list[Tensor] = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.broadcast(flat, 0)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
