"""Runs a model under edge weights, frozen, and leaves it as it was found.

A weight multiplies the message of its edge in every layer, after the layer's own normalisation:
degrees and attention stay those of the unmasked graph. Messages that cannot reach the explained
output need not be computed at all; the layer still sees their edges when it counts degrees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from zoo_core.errors import InputError, ZooError
from zoo_core.retries import first_line
from zoo_nseg import sums
from zoo_nseg.layer_edges import LayerEdges

_WORTH = 1 << 15
"""From how many numbers in all messages of a layer on sparse products are the faster way."""
_STATE = ("_edge_mask", "_loop_mask", "_apply_sigmoid")


class Frozen:
    """A model in eval mode without gradients to its parameters, until the block ends.

    Attributes:
        model: the module; of a compiled one the module inside.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = _explainable(model)
        self._training: list[tuple[nn.Module, bool]] = []
        self._gradients: list[tuple[nn.Parameter, bool]] = []
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._training = [(module, module.training) for module in self.model.modules()]
        self._gradients = [(each, each.requires_grad) for each in self.model.parameters()]
        for module, _ in self._training:
            module.training = False
        for parameter, _ in self._gradients:
            parameter.requires_grad_(False)
        # Masks that others left would weigh the unmasked outputs, too.
        for layer in _layers(self):
            self._undo.append(_remembered(layer))
            layer.explain = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        for module, training in self._training:
            module.training = training
        for parameter, required in self._gradients:
            parameter.requires_grad_(required)

    def calls(self, x: Tensor, edge_index: Tensor, **arguments: Any) -> tuple[Any, int]:
        """Returns the unmasked output and how often messages were passed to compute it.

        Raises:
            InputError: the model fails, is on another device, or no layer passes messages.
        """
        places = {each.device for each in self.model.parameters()}
        if places and x.device not in places:
            there = ", ".join(sorted(map(str, places)))
            raise InputError(f"x is on {x.device} and the model on {there}; move both to one.")
        count = 0

        def counted(*_: Any) -> None:
            nonlocal count
            count += 1

        handles = [layer.register_propagate_forward_pre_hook(counted) for layer in _layers(self)]
        try:
            with torch.no_grad():
                output = self.model(x, edge_index, **arguments)
        except ZooError:
            raise
        except Exception as error:
            given = ", ".join(["x", "edge_index", *arguments])
            raise InputError(
                f"{type(self.model).__name__} fails on {given} as given, before any mask "
                f"({type(error).__name__}: {first_line(error)})."
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        if count == 0:
            raise InputError(
                f"no torch_geometric MessagePassing layer of {type(self.model).__name__} runs in "
                "its forward, so there are no messages to mask; build it of such layers."
            )
        return output, count


class Masked:
    """A frozen model that runs under edge weights; call it as `masked(weights, x, **arguments)`.

    Args:
        frozen: the model, within its `with` block.
        edge_index: [2, E] int64, the edges the model is run on.
        messages: [M] int64, sorted: the edges whose messages are computed; None for all.
        num_nodes: N.
    """

    def __init__(
        self, frozen: Frozen, edge_index: Tensor, num_nodes: int, messages: Tensor | None = None
    ) -> None:
        self.frozen = frozen
        self.edge_index = edge_index
        self._forms = LayerEdges(edge_index, num_nodes, messages)
        self._weights: Tensor | None = None
        self._ungraded = False
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        try:
            for layer in _layers(self.frozen):
                self._undo.append(_remembered(layer))
                kind = sums.kind(layer)
                layer.explain = True
                layer._apply_sigmoid = False
                if kind is not None and sums.available():
                    layer.propagate = functools.partial(self._sum, layer, layer.propagate, kind)
                handle = layer.register_propagate_forward_pre_hook(self._prepare)
                self._undo.append(handle.remove)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def __call__(self, weights: Tensor, x: Tensor, **arguments: Any) -> Any:
        """Returns the model's output.

        Args:
            weights: [M] floating point, of the messages that are computed.
            x: [N, F] features.
            **arguments: of the model.
        """
        # They stay until the next call: checkpointed layers run again in the backward pass.
        self._weights = weights
        self._ungraded = False
        output = self.frozen.model(x, self.edge_index, **arguments)
        graded = torch.is_grad_enabled() and weights.requires_grad
        if graded and self._ungraded and x.is_floating_point() and not x.requires_grad:
            # A reentrant checkpoint is computed again only for the gradient of its input.
            x = x.detach().requires_grad_()
            output = self.frozen.model(x, self.edge_index, **arguments)
        return output

    def without_edges(self, x: Tensor, **arguments: Any) -> Any:
        """Returns the model's output on the nodes alone.

        Args:
            x: [N, F] features.
            **arguments: of the model, those of edges without rows.
        """
        self._weights = None
        return self.frozen.model(x, self.edge_index[:, :0], **arguments)

    def _restore(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        self._weights = None

    def _sum(
        self,
        layer: MessagePassing,
        propagate: Callable[..., Any],
        kind: str,
        edge_index: Any,
        size: Any = None,
        **kwargs: Any,
    ) -> Any:
        """What `propagate` returns, for a layer that sums weighted neighbours."""
        self._ungraded |= not torch.is_grad_enabled()
        x = kwargs.get("x")
        states, target = x if isinstance(x, tuple) else (x, None)
        weights = self._weights
        # A layer between two sets of nodes has other targets than sources.
        square = size is None and (target is None or len(target) == len(states))
        if weights is None or not square or not self._worth_it(states, weights):
            return propagate(edge_index, size=size, **kwargs)
        form = self._forms.of(edge_index, layer)
        weights = form.weights(weights).to(states.dtype)
        if (own := kwargs.get("edge_weight")) is not None:
            weights = weights * (own if form.keep is None else own[form.keep])
        return form.sums(edge_index, layer.flow, len(states))(weights, states, mean=kind == "mean")

    def _worth_it(self, states: Any, weights: Tensor) -> bool:
        return (
            isinstance(states, Tensor)
            and states.ndim == 2
            and states.device.type == "cpu"
            and states.dtype in (torch.float32, torch.float64)
            and len(weights) * states.shape[1] >= _WORTH
        )

    def _prepare(self, layer: MessagePassing, inputs: tuple[Any, Any, dict[str, Any]]) -> Any:
        self._ungraded |= not torch.is_grad_enabled()
        edge_index, size, kwargs = inputs
        weights = self._weights
        if weights is None:
            # As bools they leave the dtype of the messages as it is.
            layer._edge_mask = edge_index.new_ones(edge_index.shape[1], dtype=torch.bool)
            return None
        form = self._forms.of(edge_index, layer)
        layer._edge_mask = form.weights(weights).to(_dtype(kwargs, weights.dtype))
        if form.keep is None:
            return None
        edges = edge_index.shape[1]
        own = [name for name in layer._user_args if not name.endswith(("_i", "_j"))]
        kwargs = dict(kwargs)
        for name in own:
            value = kwargs.get(name)
            if isinstance(value, Tensor) and value.ndim and value.shape[0] == edges:
                kwargs[name] = value[form.keep]
        return edge_index[:, form.keep], size, kwargs


def _dtype(kwargs: dict[str, Any], otherwise: torch.dtype) -> torch.dtype:
    """The dtype of what a layer makes messages of; a weight of another would change theirs."""
    for value in kwargs.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Tensor) and each.is_floating_point():
                return each.dtype
    return otherwise


def _explainable(model: nn.Module) -> nn.Module:
    """The module, after a check that its layers can be masked."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}; expected a torch.nn.Module.")
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("model is a ScriptModule, whose layers cannot be masked; pass the module.")
    if any(each.is_inference() for each in (*model.parameters(), *model.buffers())):
        raise InputError(
            f"{type(model).__name__} was made in inference mode, without autograd; build it "
            "outside."
        )
    layers = [(name, each) for name, each in model.named_modules() if _passes_messages(each)]
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no torch_geometric MessagePassing layer, so there are no "
            "messages to mask; build it of such layers."
        )
    for name, layer in layers:
        what = f"{name or 'model'} ({type(layer).__name__})"
        if layer.explain is False:
            raise InputError(
                f"{what} has explain=False, so its messages are never masked; set it to None."
            )
        if getattr(layer, "cached", False):
            raise InputError(
                f"{what} has cached=True and would use the edges of an earlier call; build it with "
                "cached=False."
            )
        if layer.decomposed_layers != 1:
            raise InputError(f"{what} is decomposed; masks need decomposed_layers=1.")
    return model


def _layers(frozen: Frozen) -> list[MessagePassing]:
    return [module for module in frozen.model.modules() if _passes_messages(module)]


def _passes_messages(module: nn.Module) -> bool:
    return isinstance(module, MessagePassing)


def _remembered(layer: MessagePassing) -> Callable[[], None]:
    """Takes what a layer holds for explanations away; returns what puts it back."""
    explain = layer.explain
    plain = {name: vars(layer)[name] for name in _STATE if name in vars(layer)}
    registered = {name: layer._parameters.pop(name) for name in _STATE if name in layer._parameters}

    own = vars(layer).get("propagate")

    def undo() -> None:
        layer.explain = explain
        vars(layer).pop("propagate", None)
        if own is not None:
            vars(layer)["propagate"] = own
        for name in _STATE:
            vars(layer).pop(name, None)
        vars(layer).update(plain)
        layer._parameters.update(registered)

    return undo
