"""Inference of revcol-t beside the same equations written straightforwardly, and ConvNeXt-T.

    python plugins/revcol/benchmarks/throughput.py

Images of 224 pixels, one process, rounds in turn; ratios of wall time and of processor time, the
steadier one where other programs run. timm's ConvNeXt-T is timed in both memory formats and
compared in the faster one. About three minutes.
"""

from __future__ import annotations

import argparse
import statistics

import timm
import torch
from straightforward import Straightforward
from timing import interleaved, ratio

import zoo
from zoo_revcol.experiments.weights import randomise

GMACS = {"revcol-t": 4.52, "ConvNeXt-T": 4.47}


def main() -> None:
    """Prints images a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}")
    print("ratios: wall, CPU; median (lowest to highest)")
    torch.manual_seed(0)
    # At the initial layer scale of 1e-6 equal outputs would say nothing of the blocks.
    model = randomise(zoo.load("revcol-t", pretrained=False))
    plain = Straightforward(model).eval()
    convnext = timm.create_model("convnext_tiny").eval()
    convnext_last = timm.create_model("convnext_tiny").eval().to(memory_format=torch.channels_last)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for batch in arguments.batches:
            images = torch.randn(batch, 3, 224, 224)
            images_last = images.contiguous(memory_format=torch.channels_last)
            functions = {
                "revcol-t": lambda images=images: model(images),
                "straightforward": lambda images=images: plain(images),
                "ConvNeXt-T": lambda images=images: convnext(images),
                "ConvNeXt-T, channels_last": lambda images=images_last: convnext_last(images),
            }
            with torch.inference_mode():
                difference = (model(images) - plain(images)).abs().max() / model(images).abs().max()
                assert difference < 1e-4, f"the outputs differ by {difference:.1g}"
                rounds = arguments.rounds if batch > 1 else 4 * arguments.rounds
                times = interleaved(functions, rounds)
            peer = min(
                (name for name in functions if name.startswith("ConvNeXt")),
                key=lambda name: statistics.median(times[name].wall),
            )
            print(f"\n{threads} thread(s), batch {batch}")
            for name, timing in times.items():
                print(f"  {name:26} {batch / statistics.median(timing.wall):7.2f} images/s")
            own = times["revcol-t"]
            macs = GMACS["revcol-t"] / GMACS["ConvNeXt-T"]
            for name, factor in (("straightforward", 1.0), (peer, macs)):
                wall, cpu = (ratio(times[name], own, clock) for clock in ("wall", "cpu"))
                each = f"; per MAC {wall.median * factor:.2f}, {cpu.median * factor:.2f}"
                print(f"  {name} / revcol-t {wall}, {cpu}{each if factor != 1 else ''}")


if __name__ == "__main__":
    main()
