"""Modules with the names and shapes of the official TGN and TGAT, with random tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TGN_LAYER = "embedding_module.attention_models.{}."
TGAT_LAYER = "attn_model_list.{}."


class MergeLayer(nn.Module):
    def __init__(self, first: int, second: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(first + second, hidden), nn.Linear(hidden, out)


class TGN(nn.Module):
    """Modules that make the official TGN's names and shapes."""

    def __init__(
        self, node: int, edge: int, time: int, layers: int, nodes: int | None, heads: int = 2
    ) -> None:
        super().__init__()
        self.time_encoder = nn.Module()
        self.time_encoder.w = nn.Linear(1, time)
        if nodes is not None:
            self.memory = nn.Module()
            self.memory.memory = nn.Parameter(torch.randn(nodes + 1, node), requires_grad=False)
            last = torch.randint(100, (nodes + 1,)).float()
            self.memory.last_update = nn.Parameter(last, requires_grad=False)
            self.memory_updater = nn.Module()
            self.memory_updater.memory = self.memory
            self.memory_updater.layer_norm = nn.LayerNorm(node)
            self.memory_updater.memory_updater = nn.GRUCell(2 * node + edge + time, node)
        self.embedding_module = nn.Module()
        self.embedding_module.time_encoder = self.time_encoder
        self.embedding_module.attention_models = nn.ModuleList()
        for _ in range(layers):
            layer = nn.Module()
            layer.merger = MergeLayer(node + time, node, node, node)
            width = node + edge + time
            layer.multi_head_target = nn.MultiheadAttention(
                node + time, heads, kdim=width, vdim=width
            )
            nn.init.normal_(layer.multi_head_target.in_proj_bias)
            nn.init.normal_(layer.multi_head_target.out_proj.bias)
            self.embedding_module.attention_models.append(layer)
        self.affinity_score = MergeLayer(node, node, node, 1)


class TGAT(nn.Module):
    """Modules that make the official TGAT's names and shapes."""

    def __init__(self, width: int, layers: int, nodes: int = 4, count: int = 9) -> None:
        super().__init__()
        self.n_feat_th = nn.Parameter(torch.randn(nodes + 1, width))
        self.e_feat_th = nn.Parameter(torch.randn(count + 1, width))
        self.edge_raw_embed = nn.Embedding.from_pretrained(self.e_feat_th, padding_idx=0)
        self.node_raw_embed = nn.Embedding.from_pretrained(self.n_feat_th, padding_idx=0)
        self.merge_layer = MergeLayer(width, width, width, width)
        self.attn_model_list = nn.ModuleList()
        for _ in range(layers):
            layer = nn.Module()
            layer.merger = MergeLayer(3 * width, width, width, width)
            target = nn.Module()
            for name in ("w_qs", "w_ks", "w_vs"):
                setattr(target, name, nn.Linear(3 * width, 3 * width, bias=False))
            target.fc = nn.Linear(3 * width, 3 * width)
            target.layer_norm = nn.LayerNorm(3 * width)
            layer.multi_head_target = target
            self.attn_model_list.append(layer)
        self.time_encoder = nn.Module()
        self.time_encoder.basis_freq = nn.Parameter(torch.randn(width))
        self.time_encoder.phase = nn.Parameter(torch.randn(width))
        self.affinity_score = MergeLayer(width, width, width, 1)


def tgn(edge: int = 2, layers: int = 1, nodes: int | None = 7, time: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(TGN(4, edge, time, layers, nodes).state_dict())


def tgat(width: int = 4, layers: int = 2) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(TGAT(width, layers).state_dict())
