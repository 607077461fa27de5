"""Layers that are computed again in the backward pass: explained as if they were not."""

from __future__ import annotations

import pytest
from nseg_small import Net, drawn, explainer, same
from torch.utils.checkpoint import checkpoint

KINDS = ("edge", "feature", "joint")
# torch warns of every checkpoint of a forward that needs no gradient.
CHECKPOINTED = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")


class Checkpointed(Net):
    """Computes its layers again in the backward pass."""

    def __init__(self, which: tuple[str, ...], reentrant: bool = False, width: int = 8) -> None:
        super().__init__(width)
        self.which, self.reentrant = which, reentrant

    def forward(self, x, edge_index):
        for name in ("first", "second"):
            layer = getattr(self, name)

            def step(x, layer=layer):
                return layer(x, edge_index).tanh()

            again = name in self.which
            x = checkpoint(step, x, use_reentrant=self.reentrant) if again else step(x)
        return self.head(x)


@CHECKPOINTED
@pytest.mark.parametrize("way", ["stacked", "one by one", "summed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("which", "reentrant"),
    [
        (("second",), True),
        (("first",), True),
        (("first", "second"), True),
        (("second",), False),
        (("first",), False),
        (("first", "second"), False),
    ],
)
def test_layers_that_are_computed_again_are_weighed_again(monkeypatch, which, reentrant, kind, way):
    monkeypatch.setattr("zoo_nseg.masking._WORTH", 0 if way == "summed" else 10**12)
    ours = explainer(kind=kind, max_edges_per_chunk=1 if way == "one by one" else 200_000)
    data = drawn(14, 30)
    found = ours.explain_nodes(Checkpointed(which, reentrant), data, [0, 7])
    expected = ours.explain_nodes(Checkpointed(()), data, [0, 7])
    same(found, expected)
    assert all(each.influencing_edge_mask.sum() > 4 for each in expected)
