"""Opening an adapter: from its directory to an `Adapter`, lazily.

An SVFT adapter is read from its own files alone: no base model is needed. The update of any other kind is projected
into the singular basis of the base model's weight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.adapters.adapter import Adapter, LeftOut, matrix_table
from analysis.adapters.adapter_file import matrix_sizes, module_stems
from analysis.adapters.projected_adapter import ProjectedAdapter, UpdateSource
from analysis.adapters.recognise import AUTHORS, Recognised, recognise
from analysis.common.errors import AdapterError
from analysis.models.base_weights import BaseWeights, locate_base


def open_adapter(path: str | Path | Recognised, base: str | None = None) -> Adapter:
    """Open an adapter: nothing but its configs and the headers of its files is read.

    The kind is recognised from the files: an SVFT adapter, another adapter of PEFT's, a whole fine-tuned checkpoint,
    or a saved projection. A module that cannot be shown is left out, and listed in `Adapter.left_out`.

    Args:
        path: Whatever `recognise` takes, or what it returned.
        base: Id or path of the base model, in place of the one that the files name. An SVFT adapter is read without.

    Raises:
        AdapterError: If it is none of these, or no matrix of it can be shown, or its base model is needed and not on
            this machine.
    """
    recognised = path if isinstance(path, Recognised) else recognise(path)
    if recognised.kind in ("SVFT", "head only"):
        return _open_svft(recognised, base)
    if recognised.kind == "projection":
        from analysis.adapters.saved_projection import open_saved

        return open_saved(recognised)
    if recognised.kind == AUTHORS:
        raise AdapterError(
            f"{recognised.path} holds layers of the SVFT authors' code: they become an adapter when opened in "
            "the app's dialog, or by `svft convert`."
        )
    return _open_projected(recognised, base)


def _open_svft(recognised: Recognised, base: str | None) -> Adapter:
    sizes: dict[str, dict[str, Any]] = {}
    left_out = []
    for name, stem in module_stems(recognised.files).items():
        try:
            sizes[name] = matrix_sizes(recognised.files, stem, recognised.config)
        except AdapterError as error:
            left_out.append(LeftOut(name, str(error), recognised.files.numbers(f"{stem}.svft_coefficients")))
    _require_one(sizes, left_out)
    return Adapter(
        path=recognised.path,
        config=recognised.config,
        base=base or recognised.base,
        task=recognised.task,
        method=_method(recognised.config) if sizes else "head only",
        matrices=matrix_table(sizes),
        head={name: info.shape for name, info in sorted(recognised.files.tensors.items()) if ".svft_" not in name},
        kind="SVFT" if sizes else "head only",
        files=recognised.files,
        revision=None if base else recognised.revision,
        left_out=tuple(left_out),
    )


def _open_projected(recognised: Recognised, base: str | None) -> Adapter:
    """Open an adapter whose matrices are projected into the basis of its base model."""
    source = _source(recognised)
    directory = locate_base(base) if base else locate_base(recognised.base, recognised.revision)
    weights = BaseWeights(directory, modules=source.names, named=source.classes)
    sizes: dict[str, dict[str, Any]] = {}
    modules = source.modules(weights)
    left_out = list(source.left_out)
    for name, trained in modules.items():
        try:
            shape = weights.shape(name)
            source.check(name, shape)
        except AdapterError as error:
            left_out.append(LeftOut(name, str(error), trained))
            continue
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
    _require_one(sizes, left_out)
    if not sizes:
        raise AdapterError(f"{recognised.files.files[0]} adapts no module, so there is nothing to show.")
    return ProjectedAdapter(
        path=recognised.path,
        config=recognised.config,
        base=base or recognised.base,
        task=recognised.task,
        method=source.method,
        matrices=matrix_table(sizes),
        head=source.head,
        kind=recognised.kind,
        files=recognised.files,
        revision=None if base else recognised.revision,
        left_out=tuple(left_out),
        source=source,
        weights=weights,
    )


def _require_one(sizes: dict[str, dict[str, Any]], left_out: list[LeftOut]) -> None:
    """Raise the reason of the first module if all of them are left out."""
    if left_out and not sizes:
        raise AdapterError(left_out[0].reason)


def _source(recognised: Recognised) -> UpdateSource:
    if recognised.kind == "full fine-tuning":
        from analysis.adapters.checkpoint import FineTuned

        return FineTuned(recognised)
    from analysis.adapters.peft.update import PeftAdapter

    return PeftAdapter(recognised)


def _method(config: dict) -> str:
    parts = [f"SVFT {config['pattern']}"]
    if config.get("off_diag") and config["pattern"] != "plain":
        parts.append(f"d={config['off_diag']}")
    if config.get("budget"):
        parts.append(f"budget {config['budget']:,}")
    return " ".join(parts) + (", with overrides" if config.get("overrides") else "")
