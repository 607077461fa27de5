"""One process, or several that Accelerate launched, which share the events of each step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, ZooError
from zoo_core.retries import first_line

if TYPE_CHECKING:
    from accelerate import Accelerator

_PLAIN = ("NO", "MULTI_CPU", "MULTI_GPU")


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many, and how they add up what they have.

    Every process holds the whole model and the whole memory. For the loss each takes a share of a
    batch; the memory takes in the whole batch in each of them, and so stays the same.

    Attributes:
        rank: the number of this process.
        world: how many there are.
        device: where this one computes; None is where the model is.
    """

    rank: int = 0
    world: int = 1
    device: torch.device | None = None

    @classmethod
    def of(cls, accelerator: Accelerator | None) -> Processes:
        """Returns those of an accelerator, or those that were launched.

        Raises:
            ConfigError: Accelerate is set to something that this loop is not made for, or the
                variables of a launcher are not complete.
            ZooError: several were launched, and Accelerate is missing or does not see them.
        """
        if accelerator is None:
            if _world() == 1:
                return cls()
            accelerator = _launched()
        if accelerator.distributed_type.value not in _PLAIN:
            raise ConfigError(
                f"Accelerate is set to {accelerator.distributed_type.value}; expected one process, "
                "or several with whole copies of the model."
            )
        if accelerator.mixed_precision != "no":
            raise ConfigError(
                f"the accelerator's precision is {accelerator.mixed_precision!r}; expected 'no': "
                "a memory that is carried on from batch to batch is not made for less."
            )
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.device)

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Returns this process's part of a batch [B], which may be empty."""
        return batch.tensor_split(self.world)[self.rank]

    def align(self, model: nn.Module) -> None:
        """Gives every process the weights of the first."""
        if self.world > 1:
            for value in model.state_dict().values():
                torch.distributed.broadcast(value, src=0)

    def agreed(self, value: Any) -> Any:
        """Returns the first process's value, in every process."""
        if self.world == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def largest(self, value: int) -> int:
        """Returns the largest value of all processes; every one is to ask."""
        if self.world == 1:
            return value
        found = torch.tensor(value, device=self.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)

    def wait(self) -> None:
        """Waits until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()

    def add_up(self, parameters: Sequence[nn.Parameter], values: Sequence[float]) -> list[float]:
        """Adds the gradients of all processes, in place, and returns the sums of the values.

        A parameter that has a gradient in no process keeps none, as in a single process, so that
        an optimizer leaves it alone.
        """
        if self.world == 1:
            return list(values)
        device = parameters[0].device
        has = [float(each.grad is not None) for each in parameters]
        rest = torch.tensor([*has, *values], dtype=torch.float64, device=device)
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        flat = torch.cat([*(each.detach().flatten().double() for each in grads), rest])
        torch.distributed.all_reduce(flat)
        sizes = [*(each.numel() for each in grads), len(has), len(values)]
        *sums, numbers, found = flat.split(sizes)
        for parameter, total, number in zip(parameters, sums, numbers.tolist(), strict=True):
            if number:
                parameter.grad = total.view_as(parameter).to(parameter.dtype)
        return found.tolist()


def _world() -> int:
    """How many processes a launcher says it started."""
    return _variable("WORLD_SIZE", "1", 1)


def _check_launcher(world: int) -> None:
    """Raises ConfigError unless a launcher set all that the processes need to meet."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return
    names = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise ConfigError(
            f"WORLD_SIZE is {world}, and {', '.join(missing)} not set: launch with `accelerate "
            "launch` or torchrun, or unset WORLD_SIZE for one process."
        )
    if _variable("RANK", "", 0) >= world:
        raise ConfigError(f"RANK is {os.environ['RANK']}; expected below WORLD_SIZE, {world}.")
    _variable("MASTER_PORT", "", 1)


def _variable(name: str, default: str, least: int) -> int:
    text = os.environ.get(name, default)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        raise ConfigError(
            f"the variable {name} is {text!r}; expected an integer of at least {least}, which a "
            "launcher such as torchrun sets; unset it for one process."
        )
    return int(text)


def _launched() -> Accelerator:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise ZooError(
            f"training with several processes needs Accelerate, which is missing ({error}): "
            'pip install "zoo-tns[train]".'
        ) from error
    launched = _world()
    _check_launcher(launched)
    try:
        accelerator = Accelerator(cpu=not torch.cuda.is_available())
    except (ValueError, RuntimeError) as error:
        raise ZooError(f"the processes do not find each other: {first_line(error)}.") from error
    if accelerator.num_processes != launched:
        raise ZooError(
            f"{launched} processes were launched and Accelerate sees {accelerator.num_processes}; "
            "set them up by `accelerate config`, or launch one."
        )
    return accelerator
