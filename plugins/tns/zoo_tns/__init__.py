"""Time-aware neighbour sampling on temporal graphs (TNS, arXiv 2112.09845).

The public names are imported when they are first used, so that `import zoo_tns` costs nothing.
"""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "EventSplit": "zoo_tns.splits",
        "ExpandedSampler": "zoo_tns.samplers",
        "ExpansionRate": "zoo_tns.rate",
        "Neighbors": "zoo_tns.neighbors",
        "NodeClassifier": "zoo_tns.node_classification",
        "RandomNegatives": "zoo_tns.negatives",
        "RecentSampler": "zoo_tns.samplers",
        "TNSSampler": "zoo_tns.samplers",
        "TemporalGNN": "zoo_tns.model",
        "TemporalGraph": "zoo_tns.graph",
        "TemporalIndex": "zoo_tns.index",
        "TemporalLinkLoader": "zoo_tns.loaders",
        "TemporalNodeLoader": "zoo_tns.loaders",
        "TemporalSampler": "zoo_tns.temporal_sampler",
        "TrainingConfig": "zoo_tns.training.config",
        "UniformSampler": "zoo_tns.samplers",
        "WeightedNeighbors": "zoo_tns.neighbors",
        "chronological_split": "zoo_tns.splits",
        "convert_official": "zoo_tns.official",
        "draw_rate_histogram": "zoo_tns.rate_pictures",
        "draw_rates": "zoo_tns.rate_pictures",
        "draw_receptive_field": "zoo_tns.receptive_field",
        "draw_training": "zoo_tns.training_curves",
        "evaluate": "zoo_tns.evaluation",
        "expand_positions": "zoo_tns.positions",
        "fractional_gather": "zoo_tns.interpolation",
        "load_backbone": "zoo_tns.official",
        "load_jodie_csv": "zoo_tns.events",
        "load_memory": "zoo_tns.training.saving",
        "read_events": "zoo_tns.events",
        "replay": "zoo_tns.evaluation",
        "save_picture": "zoo_tns.drawing",
        "save_trained": "zoo_tns.training.saving",
        "to_official": "zoo_tns.official",
        "train_link_prediction": "zoo_tns.training.trainer",
        "train_node_classification": "zoo_tns.node_classification",
    },
)
