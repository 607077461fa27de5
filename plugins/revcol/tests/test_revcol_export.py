"""Export, compilation, tracing and other forms of inference give what eager inference gives."""

from __future__ import annotations

import copy
import warnings

import onnxruntime
import pytest
import torch
from torch.export import Dim

from zoo_revcol.model import RevCol

SMALL = {"channels": (8, 12, 16, 20), "layers": (1, 1, 1, 1), "num_columns": 2, "num_classes": 7}
MODES = [
    {"memory": "none"},
    {"memory": "checkpoint"},
    {"memory": "reversible", "anchor_every": 2},
    {"memory": "reversible", "anchor_every": 2, "exact": True},
]
# From 64 pixels: a top map of one row or column is a special case to torch.export. Named
# dimensions want bounds that it cannot prove, such as 1 % (8 * (width // 4)) != 0.
DYNAMIC = {"x": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
OTHER_SIZES = [(1, 3, 64, 64), (3, 3, 65, 127), (2, 3, 128, 96)]


@pytest.fixture
def x(images):
    return images(2, 3, 96, 80, dtype=torch.float32)


@pytest.fixture
def build(make):
    """A network with random O(1) weights and logits, in eval mode."""

    def narrow(**arguments):
        return make({**SMALL, **arguments}, dtype=torch.float32)

    return narrow


@pytest.mark.parametrize("skip", [False, True], ids=["plain", "huge"])
def test_an_exported_program_takes_any_batch_and_size(skip, build, x, images):
    model = build(memory="reversible", anchor_every=2, top_down_skip=skip)
    program = torch.export.export(model, (x,), dynamic_shapes=DYNAMIC)
    exported = program.module()
    for size in OTHER_SIZES:
        image = images(*size, dtype=torch.float32)
        with torch.no_grad():
            torch.testing.assert_close(exported(image), model(image))


def test_every_memory_mode_exports_the_same_program(build, x):
    graphs = {
        str([node.target for node in torch.export.export(build(**mode), (x,)).graph.nodes])
        for mode in MODES
    }
    assert len(graphs) == 1
    assert "conv2d" in graphs.pop()


def test_strict_export(build, x):
    model = build()
    exported = torch.export.export(model, (x,), strict=True).module()
    torch.testing.assert_close(exported(x), model(x))


def test_a_saved_program_is_the_model(build, x, tmp_path):
    model = build()
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "revcol.pt2")
    loaded = torch.export.load(tmp_path / "revcol.pt2").module()
    torch.testing.assert_close(loaded(x), model(x))


def test_supervision_is_not_exported(build, x):
    model = build(num_columns=4, intermediate_supervision=True)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_onnx_takes_any_batch_and_size(build, x, images, tmp_path):
    model = build(memory="reversible", anchor_every=2, top_down_skip=True)
    path = tmp_path / "revcol.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            model, (x,), dynamo=True, dynamic_shapes=DYNAMIC, verbose=False, input_names=["x"]
        )
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in [tuple(x.shape), *OTHER_SIZES]:
        image = images(*size, dtype=torch.float32)
        (logits,) = session.run(None, {"x": image.numpy()})
        with torch.no_grad():
            expected = model(image)
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", [MODES[0], MODES[2]], ids=str)
def test_compiled_inference_is_one_graph(mode, build, x):
    model = build(**mode)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_traced_model_is_the_model(mode, build, x, images):
    model = build(**mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls tracing deprecated; checks of sizes are lost
        traced = torch.jit.trace(model, x)
    for size in [tuple(x.shape), *OTHER_SIZES, (1, 3, 33, 47)]:
        image = images(*size, dtype=torch.float32)
        torch.testing.assert_close(traced(image), model(image))


def test_a_traced_backbone_gives_the_pyramid(build, x):
    backbone = build(num_classes=0, global_pool="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace_module(backbone, {"forward_pyramid": x})
    for one, other in zip(traced.forward_pyramid(x), backbone.forward_pyramid(x), strict=True):
        torch.testing.assert_close(one, other)


def test_memory_formats_give_the_same(build, x):
    model = build()
    expected = model(x)
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    for each in (model, channels_last):
        torch.testing.assert_close(each(x.contiguous(memory_format=torch.channels_last)), expected)
        torch.testing.assert_close(each(x.transpose(2, 3).contiguous().transpose(2, 3)), expected)


@pytest.mark.parametrize("size", [(96, 80), (64, 64), (33, 47)])
def test_bfloat16_weights_are_close(size, images):
    torch.manual_seed(0)
    model = RevCol(**SMALL, layer_scale_init=0.3).eval()
    x = images(4, 3, *size, dtype=torch.float32)
    half = copy.deepcopy(model).bfloat16()
    with torch.no_grad():
        expected, given = model(x), half(x.bfloat16())
    assert given.dtype == torch.bfloat16
    assert (given.float() - expected).norm() < 0.03 * expected.norm()
