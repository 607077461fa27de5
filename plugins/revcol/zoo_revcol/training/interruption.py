"""SIGINT and SIGTERM end a run at a step's end, in all its processes at the same one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first signal within a `with` block; the second one acts as it did before.

    Outside the main thread, where no handlers can be set, it notes nothing.

    Args:
        accelerator: the processes that are to agree.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.signal = 0
        self._accelerator = accelerator
        self._before: dict[int, Any] = {}
        self._asked: tuple[torch.Tensor, Any] | None = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

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

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._before = {}
