"""The `README.md` of a saved object: a model card as the Hugging Face Hub reads it."""

from __future__ import annotations

from collections.abc import Mapping

from zoo_core.origin import Origin

PLACEHOLDER = "hf-hub:OWNER/NAME"
"""What the model card gives to `zoo.load`, until it is known where the object goes."""
_USE = f"""```python
import zoo

{{variable}} = zoo.load("{PLACEHOLDER}")  # or the folder that holds this file
```"""


def text(origin: Origin, distribution: str) -> str:
    """Returns the model card: metadata in YAML, then what it is, how to use it and its source.

    Args:
        origin: where the object comes from.
        distribution: what to install for its plugin.
    """
    from huggingface_hub import ModelCardData

    card, weights = origin.card, origin.weights
    paper = card.paper
    tags = ["zoo", origin.name.partition("/")[0], card.kind]
    if paper and paper.arxiv:
        tags.append(f"arxiv:{paper.arxiv}")
    metadata = ModelCardData(
        license=weights.license if weights else "other",
        library_name="zoo-core",
        tags=tags,
        pipeline_tag=card.task,
        model_name=card.name,
    )
    parts = [f"---\n{metadata.to_yaml()}\n---", f"# {card.name}", card.summary]
    if weights and weights.description:
        parts.append(weights.description)
    install = f"`pip install zoo-core {distribution}`, then:"
    parts += ["## Use", install, _USE.format(variable=card.kind)]
    if weights and weights.metrics:
        metrics = {name: f"{value:g}" for name, value in weights.metrics.items()}
        parts += ["## Results", _table("metric", metrics)]
    if origin.config:
        settings = {f"`{name}`": f"`{value!r}`" for name, value in origin.config.items()}
        parts += ["## Configuration", _table("argument", settings)]
    if paper:
        link = f" https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else ""
        authors = ", ".join(paper.authors)
        parts += ["## Paper", f"{authors}: {paper.title}. {paper.venue} {paper.year}.{link}"]
    return "\n\n".join(parts) + "\n"


def _table(heading: str, rows: Mapping[str, str]) -> str:
    lines = [f"| {heading} | value |", "| --- | --- |"]
    for cells in rows.items():
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
