"""TGN's memory: a vector a node, updated from the last message that its events left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_tns.time_encoding import TimeEncoder

LastBy = Literal["role", "time"]
"""Which message of a batch is a node's last one; see `Memory.store`."""


@dataclass
class MemoryState:
    """What has been seen of the stream. It is no part of the weights.

    Attributes:
        memory: floating [V, d].
        last_update: float64 [V], the time of the last message that went into the memory.
        message: floating [V, d_raw], the message that is pending.
        message_time: float64 [V].
        pending: bool [V], whether there is one.
        latest: the time of the latest event seen, or minus infinity.
    """

    memory: Tensor
    last_update: Tensor
    message: Tensor
    message_time: Tensor
    pending: Tensor
    latest: float = -float("inf")

    @classmethod
    def zeros(cls, num_nodes: int, width: int, raw_width: int, like: Tensor) -> MemoryState:
        """Returns that of a stream that has not begun, in the dtype and on the device of `like`."""
        device = like.device
        return cls(
            like.new_zeros(num_nodes, width),
            torch.zeros(num_nodes, dtype=torch.float64, device=device),
            like.new_zeros(num_nodes, raw_width),
            torch.zeros(num_nodes, dtype=torch.float64, device=device),
            torch.zeros(num_nodes, dtype=torch.bool, device=device),
        )

    @property
    def num_nodes(self) -> int:
        """V."""
        return len(self.memory)

    def like(self, tensor: Tensor) -> MemoryState:
        """Returns it in the dtype and on the device of a tensor; times stay float64."""
        device = tensor.device
        return MemoryState(
            self.memory.to(tensor),
            self.last_update.to(device),
            self.message.to(tensor),
            self.message_time.to(device),
            self.pending.to(device),
            self.latest,
        )

    def grown(self, num_nodes: int) -> MemoryState:
        """Returns it with room for more nodes, whose memory is zero."""
        if num_nodes <= self.num_nodes:
            return self
        state = MemoryState.zeros(
            num_nodes, self.memory.shape[1], self.message.shape[1], self.memory
        )
        for name in ("memory", "last_update", "message", "message_time", "pending"):
            getattr(state, name)[: self.num_nodes] = getattr(self, name)
        state.latest = self.latest
        return state

    def tensors(self) -> dict[str, Tensor]:
        """Returns a copy as named tensors, the pending messages without the empty rows."""
        nodes = self.pending.nonzero().squeeze(1)
        return {
            "memory": self.memory.clone(),
            "last_update": self.last_update.clone(),
            "pending_nodes": nodes,
            "pending_messages": self.message[nodes].clone(),
            "pending_times": self.message_time[nodes].clone(),
            "latest": torch.tensor(self.latest, dtype=torch.float64),
        }

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor], width: int, raw_width: int) -> MemoryState:
        """Returns the state of named tensors as `tensors` gives them.

        Raises:
            InputError: a tensor is missing, or has another shape.
        """
        expected = ("memory", "last_update", *_PENDING, "latest")
        if missing := [name for name in expected if not isinstance(tensors.get(name), Tensor)]:
            raise InputError(f"the memory's state lacks {', '.join(missing)}.")
        if unknown := sorted(set(tensors) - set(expected)):
            raise InputError(f"the memory's state has tensors not known: {', '.join(unknown)}.")
        memory, nodes = tensors["memory"], tensors["pending_nodes"]
        shapes = {
            "memory": (len(memory) if memory.ndim else 0, width),
            "last_update": (len(memory) if memory.ndim else 0,),
            "pending_nodes": (nodes.numel(),),
            "pending_messages": (nodes.numel(), raw_width),
            "pending_times": (nodes.numel(),),
            "latest": (),
        }
        for name, shape in shapes.items():
            if tuple(tensors[name].shape) != shape:
                raise InputError(
                    f"the memory's {name} has the shape {list(tensors[name].shape)}; expected "
                    f"{list(shape)}."
                )
        inside = nodes.dtype == torch.int64 and bool(((nodes >= 0) & (nodes < len(memory))).all())
        if not inside or len(nodes.unique()) != len(nodes):
            raise InputError("the memory's pending_nodes are not different ids below num_nodes.")
        for name in expected:
            number = tensors[name]
            sound = number.isfinite().all() or (name == "latest" and number == -float("inf"))
            if not sound:
                raise InputError(f"the memory's {name} has values that are not finite.")
        state = cls.zeros(len(memory), width, raw_width, memory)
        state.memory.copy_(memory)
        state.last_update.copy_(tensors["last_update"])
        state.message[nodes] = tensors["pending_messages"].to(memory)
        state.message_time[nodes] = tensors["pending_times"].double()
        state.pending[nodes] = True
        state.latest = float(tensors["latest"])
        return state


_PENDING = ("pending_nodes", "pending_messages", "pending_times")


class Memory(nn.Module):
    """How messages become memory: the last one of a batch, through a GRU cell.

    An event (i, j, t, e) leaves with i the raw message concat(mem_i, mem_j, e, phi(t - last_i)),
    and with j its mirror image; the message function is the identity (the official TGN code).
    """

    def __init__(self, width: int, edge_dim: int, time_dim: int) -> None:
        """Makes the cell.

        Args:
            width: d, of the memory.
            edge_dim: d_e.
            time_dim: d_t.
        """
        super().__init__()
        self.width = width
        self.raw_width = 2 * width + edge_dim + time_dim
        self.cell = nn.GRUCell(self.raw_width, width)

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        self.cell.reset_parameters()

    def empty(self, num_nodes: int) -> MemoryState:
        """Returns the state of a stream that has not begun."""
        return MemoryState.zeros(num_nodes, self.width, self.raw_width, self.cell.weight_hh)

    def updated(self, state: MemoryState, nodes: Tensor) -> Tensor:
        """Returns the memory of nodes with their pending messages taken in: [n, d].

        The state stays as it is; gradients reach the cell.

        Args:
            state: of the stream.
            nodes: int64 [n].
        """
        memory = state.memory[nodes]
        rows = state.pending[nodes].nonzero().squeeze(1)
        if len(rows) == 0:
            return memory
        if len(rows) == len(nodes):
            return self.cell(state.message[nodes], memory)
        return memory.index_copy(0, rows, self.cell(state.message[nodes[rows]], memory[rows]))

    @torch.no_grad()
    def persist(self, state: MemoryState, nodes: Tensor) -> None:
        """Takes the pending messages of different nodes, int64 [n], into the state for good."""
        nodes = nodes[state.pending[nodes]]
        if len(nodes):
            state.memory[nodes] = self.updated(state, nodes)
            state.last_update[nodes] = state.message_time[nodes]
            state.pending[nodes] = False

    @torch.no_grad()
    def store(
        self,
        state: MemoryState,
        src: Tensor,
        dst: Tensor,
        t: Tensor,
        edge_features: Tensor,
        encoder: TimeEncoder,
        last_by: LastBy,
    ) -> None:
        """Leaves the messages of a batch with its nodes; of several, a node keeps the last.

        Args:
            state: of the stream, its nodes' memory persisted.
            src: int64 [B].
            dst: int64 [B].
            t: float64 [B], in the order of the stream.
            edge_features: floating [B, d_e].
            encoder: phi.
            last_by: "role" is the official code's order: the messages of all sources, then those
                of all destinations, so that a node that is both keeps one as a destination even
                if an event in which it is the source comes later. "time" (ours) is the events'
                order, in which an event's source comes before its destination.
        """
        size = len(src)
        nodes, others = torch.cat([src, dst]), torch.cat([dst, src])
        order = torch.arange(2 * size, device=src.device)
        if last_by == "time":
            order = order % size * 2 + order // size
        owners, place = nodes.unique(return_inverse=True)
        newest = order.new_full((len(owners),), -1).scatter_reduce(0, place, order, "amax")
        chosen = (order == newest[place]).nonzero().squeeze(1)
        nodes, others, event = nodes[chosen], others[chosen], chosen % size
        elapsed = t[event] - state.last_update[nodes]
        state.message[nodes] = torch.cat(
            [
                state.memory[nodes],
                state.memory[others],
                edge_features[event].to(state.memory.dtype),
                encoder(elapsed),
            ],
            dim=1,
        )
        state.message_time[nodes] = t[event]
        state.pending[nodes] = True


class MemoryView:
    """The updated memory as one pass over a model needs it: each node goes through the cell once.

    Calls return rows of the same tensors, so that gradients of all uses of a node meet.
    """

    def __init__(self, memory: Memory, state: MemoryState) -> None:
        """Starts with nothing computed."""
        self._memory = memory
        self._state = state
        self._place = torch.full((state.num_nodes,), -1, device=state.memory.device)
        self._parts: list[Tensor] = []
        self._size = 0

    def __call__(self, nodes: Tensor) -> Tensor:
        """Returns [n, d] of nodes, int64 [n], which may repeat."""
        fresh = nodes[self._place[nodes] < 0].unique()
        if len(fresh) or not self._parts:
            self._parts.append(self._memory.updated(self._state, fresh))
            place = torch.arange(self._size, self._size + len(fresh), device=nodes.device)
            self._place[fresh] = place
            self._size += len(fresh)
        table = self._parts[0] if len(self._parts) == 1 else torch.cat(self._parts)
        return table.index_select(0, self._place[nodes])
