"""Body of `svft decompose`: the singular vectors of a whole base model in a directory, computed once for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distributed import Client, as_completed
from rich.console import Console
from rich.progress import track

from analysis.common.errors import UserError
from analysis.models.base_weights import BaseWeights, locate_base
from analysis.models.shapes import block_shapes
from analysis.trials.workers import end_processes, start_cluster


def decompose_to(
    base: str,
    output: Path,
    targets: Sequence[str] | None = None,
    rank: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Write the decomposition of each weight into `output`; what is there already is not computed again.

    A worker reads one weight at a time, so that no process holds the model.

    Args:
        base: Hub id, path or packaged model, whose files are on this machine, and on that of every worker.
        output: A directory that all workers see.
        targets: Linear layers, as in `TrainingSpec`; None is all inside the blocks.
        rank: Leading directions to keep, None for all.
        workers: Local worker processes, None is one per core.
        scheduler: Address of a Dask scheduler to use instead.

    Raises:
        UserError: If the model cannot be read, or a weight cannot be decomposed.
    """
    names = list(block_shapes(base, targets))
    cluster, processes = (None, []) if scheduler else start_cluster(workers)
    try:
        with Client(scheduler or cluster, set_as_default=False) as client:
            futures = client.map(_decompose, names, base=base, output=str(output.resolve()), rank=rank, pure=False)
            done = track(as_completed(futures, loop=client.loop), "Decomposing", total=len(futures))
            size = sum(future.result() for future in done)
    finally:
        end_processes(processes)
        if cluster is not None:
            cluster.close(timeout=10)
    Console().print(
        f"{len(names)} matrices, {size / 1e6:,.0f} MB in {output}. Processes with SVFT_DECOMPOSITIONS={output} read "
        "them instead of computing them.",
        highlight=False,
    )


def _decompose(name: str, *, base: str, output: str, rank: int | None) -> int:
    """Write the decomposition of one weight, in a worker, and return the bytes of its file."""
    from svft.cache import save_decomposition
    from svft.errors import SvftError

    weight = BaseWeights(locate_base(base)).weight(name)
    try:
        return save_decomposition(weight, Path(output), rank, name).stat().st_size
    except (SvftError, OSError) as error:
        raise UserError(f"{name} of {base} was not decomposed: {error}") from error
