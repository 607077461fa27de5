"""What `zoo reproduce nseg` runs; each experiment is a module here, imported when it is run."""

from __future__ import annotations

from typing import Final

from zoo_core.experiment import Experiment, Figure

_HERE = "zoo_nseg.experiments"
_FIDELITY = (
    "Fid+",
    "Fid-",
    "charact",
    "PNS lower bound",
    "soft Fid+",
    "soft Fid-",
    "soft charact",
    "soft PNS lower bound",
    "kept by the empty graph",
)

EXPERIMENTS: Final = (
    Experiment(
        name="parity",
        claim="Logits, losses and masks are those of the official implementation.",
        run=f"{_HERE}.parity:run",
        check=f"{_HERE}.parity:holds",
        measures=("logits", "losses", "masks"),
        minutes=0.2,
        seeds=0,
        data=("nseg-synthetic",),
    ),
    Experiment(
        name="logic",
        claim="Where a label is A and B, and where it is A or B, only the PNS recovers both causes "
        "every time.",
        paper="abstract: necessity or sufficiency alone gives partial explanations",
        run=f"{_HERE}.logic:run",
        check=f"{_HERE}.logic:holds",
        measures=("both causes", "one cause", "nothing", "anything else"),
        minutes=1,
        seeds=10,
        figure=Figure(x="objective", y=("both causes",), series=("label", "alpha"), kind="bar"),
    ),
    Experiment(
        name="mutag",
        claim="On molecules, explanations by the PNS are more necessary and sufficient together "
        "than those by either half, by GNNExplainer, by PGExplainer or by chance.",
        paper="abstract: combined necessity and sufficiency on real graphs",
        run=f"{_HERE}.mutag:run",
        check=f"{_HERE}.mutag:holds",
        measures=(*_FIDELITY, "sparsity", "network's test accuracy"),
        minutes=3,
        seeds=3,
        data=("nseg-mutag",),
        figure=Figure(x="explainer", y=("charact", "PNS lower bound"), kind="bar"),
    ),
    Experiment(
        name="mutagenicity",
        claim="Explanations by the PNS find the toxicophores of mutagens, and are necessary and "
        "sufficient where those by necessity alone are not sufficient.",
        paper="abstract: combined necessity and sufficiency on real graphs",
        run=f"{_HERE}.mutagenicity:run",
        check=f"{_HERE}.mutagenicity:holds",
        measures=(*_FIDELITY, "AUC", "sparsity", "network's test accuracy"),
        minutes=5,
        seeds=3,
        data=("nseg-mutagenicity-gt",),
        figure=Figure(x="explainer", y=("charact", "AUC"), kind="bar"),
    ),
    Experiment(
        name="msrc21",
        claim="On segmented images the PNS does as well as its halves, up to a hundredth, and all "
        "three better than GNNExplainer, and that better than chance.",
        paper="abstract: combined necessity and sufficiency on real graphs",
        run=f"{_HERE}.msrc21:run",
        check=f"{_HERE}.msrc21:holds",
        measures=(*_FIDELITY, "sparsity", "network's test accuracy"),
        minutes=7,
        seeds=3,
        data=("nseg-msrc21",),
        figure=Figure(x="explainer", y=("charact", "PNS lower bound"), kind="bar"),
    ),
    Experiment(
        name="motifs",
        claim="On the official networks, explanations of motif nodes by the PNS find the motif and "
        "are more necessary and sufficient together than those by either half.",
        paper="abstract: combined necessity and sufficiency on synthetic graphs",
        run=f"{_HERE}.motifs:run",
        check=f"{_HERE}.motifs:holds",
        measures=(*_FIDELITY, "recall@K", "AUC", "AUC of the neighbourhood", "sparsity"),
        minutes=6,
        seeds=3,
        data=("nseg-synthetic",),
        figure=Figure(x="explainer", y=("charact", "recall@K"), series=("network",), kind="bar"),
    ),
    Experiment(
        name="joint",
        claim="Explaining edges and features together, the PNS has a higher lower bound than "
        "sufficiency alone.",
        paper="abstract: joint explanations of edges and features",
        run=f"{_HERE}.joint:run",
        check=f"{_HERE}.joint:holds",
        measures=(*_FIDELITY, "Fid+ over the three cases", "sparsity"),
        minutes=1,
        seeds=3,
        data=("nseg-mutag",),
        figure=Figure(
            x="explainer", y=("soft PNS lower bound", "charact"), series=("type",), kind="bar"
        ),
    ),
    Experiment(
        name="networks",
        claim="The networks that travel with the zoo tell roles and mutagens well enough to be "
        "worth explaining.",
        run=f"{_HERE}.networks:run",
        check=f"{_HERE}.networks:holds",
        measures=("train accuracy (%)", "test accuracy (%)", "CPU minutes"),
        minutes=3,
        seeds=3,
        data=("nseg-mutag",),
        figure=Figure(x="network", y=("test accuracy (%)",), kind="bar"),
    ),
)
