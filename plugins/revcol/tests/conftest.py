from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from zoo_core.threads import one_thread
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"zoo_revcol_tests_{name}", Path(__file__).parent / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def single_thread():
    """On one thread runs can be repeated to the bit."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The plain reference of the official network, on the official names."""
    return _load("reference")


@pytest.fixture
def narrow():
    """Returns a variant's config with few channels; layers, columns and skips are the variant's."""

    def config(variant: str, **changes):
        config = VARIANTS[variant].config()
        divisor = VARIANTS[variant].channels[0] // 4
        config["channels"] = [width // divisor for width in config["channels"]]
        return {**config, "num_classes": 5, **changes}

    return config


@pytest.fixture
def make():
    """Builds a model in eval mode with random O(1) weights, alphas in +-[0.2, 1]."""

    def build(config, seed: int = 0, dtype=torch.float64) -> RevCol:
        model = RevCol(**config).to(dtype).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                if name.endswith("alpha"):
                    size = 0.2 + 0.8 * torch.rand(parameter.shape, generator=generator)
                    noise = noise.sign() * size
                elif "norm.weight" in name:
                    noise = 1 + 0.1 * noise
                elif name.endswith("bias"):
                    noise = 0.1 * noise
                elif parameter.ndim > 1:
                    noise = noise / parameter[0].numel() ** 0.5
                parameter.copy_(noise)
        return model

    return build


@pytest.fixture
def images():
    def build(*shape: int, dtype=torch.float64, seed: int = 7) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    return build
