"""SVFT → a merged model: W + ΔW in place of each adapted weight, a plain checkpoint that loads without svft."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from analysis.common.errors import BaseModelError
from analysis.conversion import Steps
from analysis.conversion.cards import write_card
from analysis.conversion.source import load_source, row
from analysis.models.loading import load_tokenizer
from analysis.models.packed.unpacking import unpacked


def merged_steps(path: str | Path, output: str | Path, base: str | None = None) -> Steps:
    """Write the base model of the SVFT adapter in `path` with its updates and head in place, as transformers do.

    Yields:
        The number of matrices, then for each a row: name, layer, kind, label, out, in, update_norm (‖ΔW‖_F),
        weight_norm (‖W‖_F), relative_norm.

    Raises:
        AdapterError: If the adapter cannot be read.
        BaseModelError: If the base cannot be loaded.
        UserError: If the base is not the adapter's.
        ValueError: If a merged weight would not be finite.
    """
    source, output = load_source(path, base), Path(output)
    yield len(source.adapter.names)
    for name, layer in source.layers.items():
        weight_norm = float(layer.get_base_weight().double().norm())
        update_norm = float(source.coefficients(name).norm())
        layer.merge(safe_merge=True)
        relative = update_norm / weight_norm if weight_norm else 0.0
        yield row(source.adapter, name, update_norm=update_norm, weight_norm=weight_norm, relative_norm=relative)
    source.model.merge_and_unload().save_pretrained(str(output))
    _copy_preprocessing(source.base.name, output)
    write_card(
        output,
        "merged model",
        source.adapter,
        source.base,
        "The update is part of each adapted weight.",
        library="transformers",
    )


def _copy_preprocessing(base: str, output: Path) -> None:
    """Put the base's tokenizer, and what it does to images or sounds, beside the model, if the base has them."""
    directory = Path(unpacked(base))
    settings = directory / "preprocessor_config.json"
    if settings.is_file():
        shutil.copy(settings, output)
        if not any(directory.glob("tokenizer*")):  # of some families transformers would make an empty one
            return
    with suppress(BaseModelError):
        load_tokenizer(base).save_pretrained(str(output))
