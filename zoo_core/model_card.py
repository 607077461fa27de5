"""The `README.md` of a saved object: a model card as the Hugging Face Hub reads it."""

from __future__ import annotations

from zoo_core.origin import Origin

_USE = """```python
import zoo

{variable} = zoo.load("hf-hub:OWNER/NAME")  # or the folder that holds this file
```"""


def text(origin: Origin) -> str:
    """Returns the model card: metadata in YAML, then what it is, how to use it and its source."""
    from huggingface_hub import ModelCardData

    card, weights = origin.card, origin.weights
    paper = card.paper
    plugin = origin.name.partition("/")[0]
    tags = ["zoo", plugin, card.kind]
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
    install = f"`pip install zoo-core zoo-{plugin}`, then:"
    parts += ["## Use", install, _USE.format(variable=card.kind)]
    if weights and weights.metrics:
        rows = "\n".join(f"| {name} | {value:g} |" for name, value in weights.metrics.items())
        parts += ["## Results", f"| metric | value |\n| --- | --- |\n{rows}"]
    settings = "\n".join(f"| `{name}` | `{value!r}` |" for name, value in origin.config.items())
    if settings:
        parts += ["## Configuration", f"| argument | value |\n| --- | --- |\n{settings}"]
    if paper:
        link = f" https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else ""
        authors = ", ".join(paper.authors)
        parts += ["## Paper", f"{authors}: {paper.title}. {paper.venue} {paper.year}.{link}"]
    return "\n\n".join(parts) + "\n"
