"""Necessary and sufficient explanations of graph neural networks (NSEG, arXiv 2212.07056).

The public names are imported when they are first used, so that `import zoo_nseg` costs nothing.
"""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "Fidelity": "zoo_nseg.fidelity",
        "GNN": "zoo_nseg.networks",
        "NSEGExplainer": "zoo_nseg.explainer",
        "NearestNeighborMatcher": "zoo_nseg.counterfactual",
        "PRESETS": "zoo_nseg.presets",
        "charact": "zoo_nseg.fidelity",
        "convert_official_checkpoint": "zoo_nseg.official",
        "counterfactual_features": "zoo_nseg.counterfactual",
        "diagnose": "zoo_nseg.diagnosis",
        "draw_explanation": "zoo_nseg.pictures",
        "draw_molecule": "zoo_nseg.molecules",
        "empty_graph_rate": "zoo_nseg.fidelity",
        "explanation_auc": "zoo_nseg.ground_truth",
        "fidelity_pm": "zoo_nseg.fidelity",
        "motif_edges": "zoo_nseg.ground_truth",
        "node_importance": "zoo_nseg.importance",
        "pns_bounds": "zoo_nseg.bounds",
        "preset": "zoo_nseg.presets",
        "read_official": "zoo_nseg.official",
        "recall_at_k": "zoo_nseg.ground_truth",
        "save_picture": "zoo_nseg.pictures",
        "sparsity": "zoo_nseg.importance",
        "top_edges": "zoo_nseg.importance",
        "truth_metrics": "zoo_nseg.ground_truth",
    },
)
