"""SIGINT and SIGTERM end a run at a step's end, in all its processes at the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zoo_core import interruption

if TYPE_CHECKING:
    from accelerate import Accelerator


class Interruption(interruption.Interruption):
    """That of the core, on which several processes agree.

    Args:
        accelerator: the processes that are to agree.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self._accelerator = accelerator
        self._asked: tuple[torch.Tensor, Any] | None = None

    def agreed(self) -> bool:
        """Whether to stop now; every process is to ask after every step, and gets one answer.

        With several processes the answer is that of the step before: to wait for this one's
        would keep a GPU from running ahead.
        """
        if self._accelerator.num_processes == 1:
            return self.signal > 0
        flag = torch.tensor([self.signal], dtype=torch.int32, device=self._accelerator.device)
        work = torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, async_op=True)
        asked, self._asked = self._asked, (flag, work)
        if asked is None:
            return False
        asked[1].wait()
        self.signal = max(self.signal, int(asked[0])) if asked[0] else self.signal
        return bool(asked[0])

    def finish(self) -> None:
        """Waits for the last answer; every process is to call it when it has asked often enough."""
        if self._asked is not None:
            self._asked[1].wait()
            self._asked = None
