"""What an adapter can be converted to, by name: what the command line and the app offer."""

from __future__ import annotations

from pathlib import Path

from analysis.common.errors import AdapterError
from analysis.conversion import Steps

# Name -> what it is, for people.
TARGETS = {
    "lora": "LoRA of a rank, in PEFT's format",
    "merged": "merged model, a plain transformers checkpoint",
    "svft": "SVFT of another pattern or budget",
    "authors": "layer state of the SVFT authors' code",
}


def conversion_steps(
    path: str | Path,
    to: str,
    output: str | Path,
    *,
    base: str | None = None,
    rank: int | None = None,
    pattern: str | None = None,
    off_diag: int | None = None,
    budget: int | None = None,
    seed: int = 0,
) -> Steps:
    """Convert the adapter in `path`, or the authors' checkpoint, and write the result to `output`.

    Args:
        path: Directory of an adapter or of a whole fine-tuned model; directory or file of an authors' checkpoint.
        to: One of `TARGETS`. An authors' checkpoint converts to svft, without a pattern.
        output: Directory that is empty or not there yet.
        base: Id or path of the base if `path` does not name it.
        rank: Of LoRA.
        pattern: Of SVFT: one of `to_svft.pattern_choices`.
        off_diag: Half-width d that sizes the pattern; or
        budget: its entries in the whole adapter.
        seed: Of the random pattern.

    Returns:
        Steps, for `analysis.conversion.collect`.

    Raises:
        AdapterError: If this cannot be asked for.
    """
    if to not in TARGETS:
        raise AdapterError(f"There is no conversion to {to!r}; choose {', '.join(TARGETS)}.")
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise AdapterError(f"{output} is not empty; choose an empty or a new directory.")
    # Imported one by one: each loads torch, transformers and PEFT, which takes seconds.
    from analysis.conversion.authors import authors_steps, is_authors_checkpoint

    if is_authors_checkpoint(path):
        if to != "svft" or pattern is not None:
            raise AdapterError(
                f"{path} is a checkpoint of the SVFT authors' code: convert it to svft without a pattern first, "
                "then convert the result."
            )
        if base is None:
            raise AdapterError(f"{path} does not name its base model: specify it.")
        return authors_steps(path, base, output)
    if to == "lora":
        from analysis.conversion.to_lora import lora_steps

        if rank is None:
            raise AdapterError("LoRA needs a rank: give one.")
        return lora_steps(path, output, rank, base)
    if to == "merged":
        from analysis.conversion.to_merged import merged_steps

        return merged_steps(path, output, base)
    if to == "authors":
        from analysis.conversion.to_authors import authors_state_steps

        return authors_state_steps(path, output, base)
    from analysis.conversion.to_svft import pattern_choices, svft_steps

    if pattern is None:
        raise AdapterError(f"SVFT needs a pattern: choose {', '.join(pattern_choices())}.")
    return svft_steps(path, output, pattern, off_diag, budget, seed, base)
