"""Opening an adapter: from its directory to an `Adapter`, lazily.

An SVFT adapter is read from its own files alone: no base model is needed. The update of any other kind is projected
into the singular basis of the base model's weight.
"""

from __future__ import annotations

from pathlib import Path

from analysis.adapters.adapter import Adapter, matrix_table
from analysis.adapters.adapter_file import read_config, read_header, read_task
from analysis.adapters.projected_adapter import ProjectedAdapter, UpdateSource
from analysis.adapters.recognise import AUTHORS, recognise
from analysis.common.errors import AdapterError
from analysis.models.base_weights import BaseWeights, locate_base


def open_adapter(path: str | Path, base: str | None = None) -> Adapter:
    """Open the adapter in the directory `path`: reads its configs and the headers of its safetensors files.

    What it is, is recognised from its files: an SVFT adapter, another adapter of PEFT's, a whole fine-tuned
    checkpoint, or a saved projection.

    Args:
        path: Directory of the adapter, or of the checkpoint.
        base: Id or path of the base model, in place of the one that the files name. An SVFT adapter is read without.

    Raises:
        AdapterError: Where it is none of these, or damaged, or its base model is needed and not on this machine.
    """
    path = Path(path)
    kind = recognise(path)
    if kind not in ("SVFT", "head only"):
        return _open_projected(path, kind, base)
    config = read_config(path)
    sizes, head = read_header(path, config)
    table = matrix_table({name: size | {"trained": size["k"]} for name, size in sizes.items()})
    base = base or config.get("base_model_name_or_path")
    return Adapter(
        path=path,
        config=config,
        base=base if isinstance(base, str) and base else None,
        task=read_task(path),
        method=_method(config) if sizes else "head only",
        matrices=table,
        head=head,
        kind="SVFT" if sizes else "head only",
    )


def _open_projected(path: Path, kind: str, base: str | None) -> Adapter:
    """Open an adapter of a kind that `recognise` found, other than SVFT.

    Raises:
        AdapterError: Where it is damaged, or its base model is not known, not here, or another one.
    """
    if kind == "projection":
        from analysis.adapters.saved_projection import open_saved

        return open_saved(path)
    if kind == AUTHORS:
        raise AdapterError(
            f"{path} holds layers of the SVFT authors' code: they become an adapter when they are opened in the app's "
            "dialog, or by `svft convert`."
        )
    source = _source(path, kind)
    base = base or source.base
    weights = BaseWeights(locate_base(base))
    sizes = {}
    for name, trained in source.modules.items():
        shape = weights.shape(name)
        source.check(name, shape)
        sizes[name] = {
            "out": shape[0],
            "in": shape[1],
            "n": min(shape),
            "m": min(shape),
            "k": min(shape) ** 2,
            "pattern": "projected",
            "pattern_label": f"{source.method}, projected",
            "off_diag": None,
            "trained": trained,
        }
    return ProjectedAdapter(
        path=path,
        config=source.config,
        base=base,
        task=read_task(path),
        method=source.method,
        matrices=matrix_table(sizes),
        head=source.head,
        kind=kind,
        source=source,
        weights=weights,
    )


def _source(path: Path, kind: str) -> UpdateSource:
    if kind == "full fine-tuning":
        from analysis.adapters.checkpoint import Checkpoint

        return Checkpoint(path)
    from analysis.adapters.peft_update import PeftAdapter

    return PeftAdapter(path, kind)


def _method(config: dict) -> str:
    parts = [f"SVFT {config['pattern']}"]
    if config.get("off_diag") and config["pattern"] != "plain":
        parts.append(f"d={config['off_diag']}")
    if config.get("budget"):
        parts.append(f"budget {config['budget']:,}")
    return " ".join(parts) + (", with overrides" if config.get("overrides") else "")
