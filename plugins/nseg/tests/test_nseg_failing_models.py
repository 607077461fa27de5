"""A model that fails by itself, on the input as it is given, is named with its error."""

from __future__ import annotations

import pytest
from nseg_small import Net, TwoLayers, drawn, explainer

from zoo_core.errors import InputError


class Fails(Net):
    """Fails where the unmasked input is run, with an error of several lines."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x, edge_index):
        raise self.error("cannot be\nread any further")


@pytest.mark.parametrize("error", [RuntimeError, IndexError, AssertionError, ZeroDivisionError])
@pytest.mark.parametrize("call", ["nodes", "graphs"])
def test_a_model_that_fails_by_itself_is_named_with_its_error(call, error):
    run = getattr(explainer(), f"explain_{call}")
    given = {"nodes": (drawn(6, 10), [0]), "graphs": ([drawn(6, 10)],)}[call]
    with pytest.raises(InputError, match=f"^Fails fails on .*{error.__name__}: ") as caught:
        run(Fails(error), *given)
    assert "cannot be" in str(caught.value)
    assert "read any further" not in str(caught.value)
    assert type(caught.value.__cause__) is error


def test_a_model_that_gets_too_few_features_is_named_with_its_error():
    data = drawn(6, 10)
    data.x = data.x[:, :3]
    with pytest.raises(InputError, match="TwoLayers fails on x, edge_index as given") as caught:
        explainer().explain_nodes(TwoLayers(), data, [0])
    assert "\n" not in str(caught.value)
