"""Checkpoints of the official TGN and TGAT code: read without running them, and turned into ours.

TGN is twitter-research/tgn; TGAT is the code of its authors' repository. Their node ids count from
1, with 0 for padding, and so do the rows of TGN's memory; ours count from 0.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from torch import Tensor

from zoo_core.checkpoint import Checkpoint, TensorInfo, converter
from zoo_core.errors import CheckpointError, WeightsMismatchError, ZooWarning, enumeration
from zoo_core.foreign import read_foreign
from zoo_tns.official_memory import agreed, memory_state, padded
from zoo_tns.official_names import MEMORY, Backbone, backbone_of, renamed, restored, without_copies

if TYPE_CHECKING:
    from zoo_tns.model import TemporalGNN

_EXPANSIONS: Final = "expansions."
_WRAPPERS: Final = ("model_state_dict", "state_dict", "model")
_METHOD: Final[dict[Backbone, dict[str, Any]]] = {
    "tgn": {"k": 10, "sampler": "recent", "neighbor_time": "query"},
    "tgat": {"k": 20, "sampler": "uniform", "neighbor_time": "event"},
}
"""What each code does unless told otherwise, and its checkpoints do not say."""


class Official(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        state_dict: of `TemporalGNN(**config)`.
        config: the arguments of `TemporalGNN` that the tensors tell, and the official code's
            defaults for k, heads, sampler and neighbor_time.
        memory_state: for `TemporalGNN.load_memory_state`, or None where there is no memory.
    """

    state_dict: dict[str, Tensor]
    config: dict[str, Any]
    memory_state: dict[str, Tensor] | None


def convert_official(
    checkpoint: str | os.PathLike[str] | Mapping[str, Any],
    *,
    num_nodes: int | None = None,
    heads: int = 2,
    k: int | None = None,
) -> Official:
    """Converts a checkpoint that a user has trained with the official TGN or TGAT code.

    Left out are the tensors that TGN stores twice, its layer norm and TGAT's `merge_layer`, which
    are never used, TGAT's copies of the features of nodes and events, and the bias of TGN's keys,
    which adds the same to all scores of a query and cancels. TGN's pending messages are not in its
    checkpoints and so are lost.

    Args:
        checkpoint: a .pth file, whose pickle is not executed, a .safetensors file, or the
            state dict itself.
        num_nodes: V, without the padding; None takes it from the memory.
        heads: of the attention, which no tensor tells.
        k: the number of neighbours, which no tensor tells either; None is the official code's
            default, 10 for TGN and 20 for TGAT.

    Raises:
        CheckpointError: there is no such file, it cannot be read, or its memory is damaged.
        WeightsMismatchError: not a TGN with graph attention, identity messages and a GRU, nor a
            TGAT with product attention; tensors missing, unknown, or of shapes that do not fit;
            or its memory is of another number of nodes than `num_nodes`.
        ConfigError: heads, k or num_nodes do not fit.
    """
    from zoo_core import lean
    from zoo_tns.model import TemporalGNN

    if not isinstance(checkpoint, Mapping):
        checkpoint = _read(Path(checkpoint))
    tensors = _weights(checkpoint)
    state_dict = from_official(tensors)
    backbone = backbone_of(tensors)
    memory = None
    if MEMORY[0] in tensors:
        memory = memory_state(tensors, state_dict)
        num_nodes = agreed(num_nodes, len(memory["memory"]))
    config = {"num_nodes": num_nodes, **config_of(state_dict), **_METHOD[backbone], "heads": heads}
    if k is not None:
        config["k"] = k
    lean.build(TemporalGNN, config)
    return Official(state_dict, config, memory)


def config_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Infers the arguments of `TemporalGNN` that the shapes of a backbone's tensors tell.

    Args:
        tensors: the names of a `TemporalGNN` with attention -> anything with a `shape`.

    Returns:
        edge_dim, node_dim, time_dim, hidden, layers, aggr and memory.

    Raises:
        WeightsMismatchError: what tells the sizes is missing or of another rank.
    """
    ranks = {
        "time_encoder.bias": 1,
        "aggregators.0.key.weight": 2,
        "aggregators.0.query.weight": 2,
        "aggregators.0.merger.fc1.weight": 2,
        "aggregators.0.merger.fc2.weight": 2,
    }
    unfit = [
        name
        for name, rank in ranks.items()
        if name not in tensors or len(tensors[name].shape) != rank
    ]
    if unfit:
        raise WeightsMismatchError(
            "the tensors are not those of a TemporalGNN with attention; missing or of another "
            f"rank: {enumeration(unfit)}."
        )
    shapes = {name: tuple(tensors[name].shape) for name in ranks}
    [time_dim] = shapes["time_encoder.bias"]
    width, message_dim = shapes["aggregators.0.key.weight"]
    node_dim = shapes["aggregators.0.merger.fc1.weight"][1] - width
    layers = {name.split(".")[1] for name in tensors if name.startswith("aggregators.")}
    return {
        "edge_dim": message_dim - node_dim - time_dim,
        "node_dim": node_dim,
        "time_dim": time_dim,
        "hidden": shapes["aggregators.0.merger.fc2.weight"][0],
        "layers": len(layers),
        "aggr": "tgat" if "aggregators.0.norm.weight" in tensors else "attention",
        "memory": any(name.startswith("memory.") for name in tensors),
    }


@converter(version=1, config=config_of)
def from_official(checkpoint: Any) -> dict[str, Tensor]:
    """Converts a checkpoint's weights to the names and layout of `TemporalGNN`.

    Args:
        checkpoint: what the file holds: the tensors, or a dict with them under `state_dict`,
            `model_state_dict` or `model`. They keep their dtype.

    Returns:
        The state dict of `TemporalGNN(**config_of(...))`, without the memory's contents.

    Raises:
        WeightsMismatchError: as `convert_official`.
    """
    from zoo_core import lean
    from zoo_tns.model import TemporalGNN

    converted = renamed(without_copies(_weights(checkpoint)))
    config = config_of(converted)
    sizes = {name: config[name] for name in ("edge_dim", "node_dim", "time_dim", "hidden")}
    if sizes["edge_dim"] < 0 or min(sizes["node_dim"], sizes["time_dim"], sizes["hidden"]) < 1:
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise WeightsMismatchError(f"the tensors' widths contradict each other: {shown}.")
    skeleton = lean.build(TemporalGNN, {**config, "heads": 1, "sampler": "recent"})
    infos = {name: TensorInfo.of(tensor) for name, tensor in converted.items()}
    lean.check_fit(skeleton, infos, "the checkpoint's tensors, in our names,")
    dtypes = {tensor.dtype for tensor in converted.values()}
    if len(dtypes) > 1:
        raise WeightsMismatchError(
            f"the tensors are of {enumeration(sorted(map(str, dtypes)))}; expected one dtype."
        )
    return converted


def to_official(
    state_dict: Mapping[str, Tensor],
    config: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Converts the weights of a `TemporalGNN` to the names and layout of the official code.

    The bias of TGN's keys becomes zero and its unused layer norm that of its initialisation. TGN
    loads the result strictly if the memory's state is given; TGAT only with `strict=False`, since
    it also stores the features of nodes and events.

    Args:
        state_dict: of a `TemporalGNN` with aggr "attention" or "tgat".
        config: its arguments; `aggr` is read.
        state: of a TGN's memory, as `TemporalGNN.memory_state` returns it; its pending messages
            have no place in an official checkpoint.

    Raises:
        WeightsMismatchError: another aggregator, or not the tensors of one.

    Warns:
        ZooWarning: what the official code has no place for is left out: the expansion modules,
            or pending messages.
    """
    aggr = config.get("aggr", "attention")
    if aggr not in ("attention", "tgat"):
        raise WeightsMismatchError(
            f"aggr is {aggr!r}; the official code has only 'attention' (TGN) and 'tgat'."
        )
    backbone: Backbone = "tgat" if aggr == "tgat" else "tgn"
    kept = {name: it for name, it in state_dict.items() if not name.startswith(_EXPANSIONS)}
    tensors = restored(kept, backbone)
    lost = ["the expansion modules"] if len(kept) < len(state_dict) else []
    if state is not None:
        if "memory.cell.weight_ih" not in state_dict:
            raise WeightsMismatchError("a state of the memory is given for a model without memory.")
        for name, values in padded(state, tensors["time_encoder.w.bias"]).items():
            tensors[name] = tensors[f"memory_updater.{name}"] = values
        if len(state["pending_nodes"]):
            lost.append(f"{len(state['pending_nodes'])} pending messages")
    if lost:
        warnings.warn(
            f"left out, since the official code has no place for them: {enumeration(lost)}.",
            ZooWarning,
            stacklevel=2,
        )
    return tensors


def load_backbone(model: TemporalGNN, state_dict: Mapping[str, Tensor]) -> None:
    """Loads all weights of a TNS model but its expansion modules, which stay as they are.

    So TNS starts from a trained backbone with AGGR_r at its initialisation, its bias at
    `init_rate`.

    Args:
        model: a `TemporalGNN` with sampler "tns".
        state_dict: of one of the same sizes without TNS, such as `Official.state_dict`.

    Raises:
        WeightsMismatchError: the tensors are not those of the model's backbone; it is as it was.
    """
    own = model.state_dict()
    expansions = {name: it for name, it in own.items() if name.startswith(_EXPANSIONS)}
    if not expansions:
        raise WeightsMismatchError(
            "the model has no expansion modules; build it with sampler='tns', or use "
            "load_state_dict."
        )
    if given := [name for name in state_dict if name.startswith(_EXPANSIONS)]:
        raise WeightsMismatchError(
            f"the tensors have expansion modules of their own ({enumeration(given, 2)}); use "
            "load_state_dict."
        )
    from zoo_core import lean

    infos = {name: TensorInfo.of(it) for name, it in {**expansions, **state_dict}.items()}
    lean.check_fit(model, infos, "the backbone's tensors")
    model.load_state_dict({**expansions, **state_dict})


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    if path.name.endswith(".safetensors"):
        return dict(Checkpoint(path).tensors())
    return read_foreign(path)


def _weights(checkpoint: Any) -> dict[str, Tensor]:
    """The tensors, by their official names."""
    if isinstance(checkpoint, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(checkpoint.get(wrapper), Mapping):
                checkpoint = checkpoint[wrapper]
                break
    if not isinstance(checkpoint, Mapping) or not checkpoint:
        raise WeightsMismatchError(
            f"the checkpoint is a {type(checkpoint).__name__} without tensors; expected a dict of "
            "tensors, or one with them under state_dict."
        )
    others = [str(name) for name, value in checkpoint.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsMismatchError(
            f"the checkpoint holds no tensors, but other values, under {enumeration(others)}."
        )
    return {str(name): tensor.detach() for name, tensor in checkpoint.items()}
