"""What adapters of every method would train, store and reach on a model, from its shapes alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from analysis.adapters.peft.frod import basis_name
from analysis.common.errors import SizeError
from analysis.models.architecture import Architecture
from analysis.models.expert_counts import Stack
from analysis.planning.sizing import Size, choose_size, count_parameters, leading_entries, size_label
from analysis.training.methods import METHODS, svft_patterns
from analysis.training.relatives import ADAMSS_CLUSTERS, CHANGED_STARTS, frod_entries, tinylora_rank
from svft_bands import share_entries

Shape = tuple[int, int]


def planned_methods() -> list[str]:
    """Return the methods that have a number of parameters to plan: not the bounds of a race, nor custom entries."""
    return [method for method in METHODS if method not in ("custom", "head_only", "full")]


def adapts_fused(method: str) -> bool:
    """Whether a method can adapt fused experts: LoRA by PEFT's target_parameters; the others take layers alone."""
    return method in ("lora", "full")


def budget_table(architecture: Architecture, kinds: Sequence[str] | None, budget: int) -> pd.DataFrame:
    """Return each method at its size nearest to a budget.

    Args:
        architecture: The model.
        kinds: Kinds of weights to adapt ("query", …); None takes all kinds of linear layers.
        budget: Trainable parameters.

    Returns:
        One row per method: ``method``, ``label``, ``size``, ``count`` (trainable parameters), ``share`` (of the
        model's), ``file_bytes`` (of the adapter, without a head), ``rank`` (the most that ΔW can have, mean over
        matrices), one column per kind with its part of ``count`` (NaN: the method cannot adapt it), ``left_out``,
        those kinds in words, and ``note``, why a method has no such size. Plain has one size, at any budget.

    Raises:
        ArchitectureError: If the model has no weights of a kind.
    """
    of_kinds = architecture.of_kinds(kinds)
    rows = []
    for method in planned_methods():
        able = {
            kind: shapes
            for kind, shapes in of_kinds.items()
            if adapts_fused(method) or kind not in architecture.fused_kinds
        }
        row = {
            "method": method,
            "label": METHODS[method].title,
            "left_out": ", ".join(kind for kind in of_kinds if kind not in able),
            "note": "",
        }
        try:
            if not able:
                raise SizeError(f"{METHODS[method].title} cannot adapt any of these weights: {FUSED_SENTENCE}")
            shapes = [shape for group in able.values() for shape in group]
            chosen = choose_size(method, budget, shapes, tolerance=0.5)
        except SizeError as error:
            rows.append(row | {"note": str(error)})
            continue
        rows.append(row | _row(architecture, able, method, chosen))
    leading = [
        "method",
        "label",
        "size",
        "budget",
        "count",
        "share",
        "file_bytes",
        "rank",
        *of_kinds,
        "left_out",
        "note",
    ]
    return pd.DataFrame(rows).reindex(columns=leading)


FUSED_SENTENCE = (
    "fused experts are one 3-D tensor for all experts of a layer, which only LoRA can adapt (PEFT's "
    "target_parameters); the others adapt linear layers, and most of them Conv1D."
)


def _row(architecture: Architecture, of_kinds: dict[str, list[Shape]], method: str, chosen: Size) -> dict:
    linear = {name: architecture.shapes[name] for kind in of_kinds for name in architecture.kinds.get(kind, ())}
    fused = {name: architecture.fused[name] for kind in of_kinds for name in architecture.fused_kinds.get(kind, ())}
    entries = dict(zip(linear, entries_of(method, list(linear.values()), chosen.size, chosen.budget), strict=True))
    entries |= {
        name: experts * count_parameters(method, [(out, in_)], chosen.size)
        for name, (experts, out, in_) in fused.items()
    }
    ranks = [(reachable_rank(method, shape, entries[name], chosen.size), 1) for name, shape in linear.items()]
    ranks += [(reachable_rank(method, (out, in_), 0, chosen.size), experts) for experts, out, in_ in fused.values()]
    return {
        "label": size_label(method, chosen.size, chosen.budget),
        "size": chosen.size,
        "budget": chosen.budget,
        "count": chosen.count,
        "share": chosen.count / architecture.parameters,
        "file_bytes": file_bytes(method, linear, entries, chosen.size, fused),
        "rank": sum(rank * n for rank, n in ranks) / sum(n for _, n in ranks),
        **{kind: sum(entries[name] for name in architecture.names_of(kind)) for kind in of_kinds},
    }


def entries_of(method: str, shapes: Sequence[Shape], size: int | None, budget: int | None = None) -> list[int]:
    """Return the trainable parameters of each matrix; their sum is `count_parameters`.

    Raises:
        SizeError: If the matrices cannot have that budget.
    """
    if budget is None:
        return [count_parameters(method, [shape], size) for shape in shapes]
    count_parameters(method, shapes, budget=budget)  # which refuses what does not fit
    if METHODS[method].leading is not None:
        return leading_entries(method, budget, shapes)
    return share_entries(budget, [min(shape) for shape in shapes])


def size_curves(architecture: Architecture, kinds: Sequence[str] | None) -> pd.DataFrame:
    """Return the parameters of every method over its size, for sizes 0, 1, 2, 4, 8, … as far as the matrices go.

    Returns:
        Rows ``method``, ``title``, ``size_name`` (as in `Method`; None for plain), ``size``, ``count``, ``share``.
    """
    of_kinds = architecture.of_kinds(kinds)
    n = max(min(shape) for group in of_kinds.values() for shape in group)
    rows = []
    for method in planned_methods():
        entry = METHODS[method]
        shapes = [
            shape
            for kind, group in of_kinds.items()
            if adapts_fused(method) or kind not in architecture.fused_kinds
            for shape in group
        ]
        if method in ("boft", "frod") or not shapes:  # whose sizes are divisors, or shares
            continue
        powers = [2**power for power in range((n - 1).bit_length())]
        sizes: list[int | None] = [*powers]
        if entry.size_name is None:
            sizes = [None]
        elif entry.size_name == "off_diag":
            sizes = [0, *powers]
        for size in sizes:
            count = count_parameters(method, shapes, size)
            rows.append((method, entry.title, entry.size_name, size, count, count / architecture.parameters))
    return pd.DataFrame(rows, columns=["method", "title", "size_name", "size", "count", "share"])


def reachable_rank(method: str, shape: Shape, entries: int, size: int | None = None) -> float:
    """Return the largest rank that a method's update of one matrix can have.

    For SVFT it is the structural rank of Ω, for LoRA, MiCA, VeRA, TinyLoRA, PSOFT and block r, for AdaMSS its clusters
    or r. PiSSA and OLoRA take another r out of the base. Of a drawn Ω it is the expected one, of a pattern that
    depends on the weight (top_k) the bound min(k, n). DoRA and BOFT scale the rows of W, and FRoD trains a diagonal:
    full rank.

    Args:
        method: A name in `METHODS`.
        shape: (out, in).
        entries: Trainable parameters of this matrix.
        size: r of the methods that have one; u for TinyLoRA.
    """
    n = min(shape)
    if (leading := METHODS[method].leading) is not None:
        return leading(n, entries)
    if method in ("dora", "boft", "frod"):
        return n
    if method in CHANGED_STARTS:
        return min(2 * _sized(method, size), n)
    if method == "adamss":
        return min(_sized(method, size), ADAMSS_CLUSTERS, n)
    if method in ("lora", "mica", "vera", "psoft", "block"):
        return min(_sized(method, size), n)
    if method == "tinylora":
        return min(tinylora_rank(_sized(method, size)), n)
    from svft.patterns import effective_pattern

    if effective_pattern(method, shape) == "random":
        return n * drawn_rank_share(entries / n)
    return min(entries, n)


def drawn_rank_share(degree: float) -> float:
    """Return the expected structural rank of a large random Ω, as a share of n, at `degree` entries per row.

    It is the size of a maximum matching in a random bipartite graph (Karp & Sipser 1981): 2 − (γ + γ* + c γ γ*), where
    γ is the smallest root of γ = exp(−c exp(−c γ)) and γ* = exp(−c γ).
    """
    low = 0.0
    for _ in range(10_000):  # from below, the iteration rises to the smallest root
        step = math.exp(-degree * math.exp(-degree * low))
        if step - low < 1e-12:
            break
        low = step
    star = math.exp(-degree * low)
    return min(1.0, 2 - (low + star + degree * low * star))


def file_bytes(
    method: str,
    shapes: dict[str, Shape],
    entries: dict[str, int],
    size: int | None = None,
    fused: dict[str, Stack] | None = None,
) -> int:
    """Return the bytes of the file adapter_model.safetensors as PEFT writes it, without a head.

    Args:
        method: A name in `METHODS`.
        shapes: Module name -> (out, in) of each adapted matrix.
        entries: Module name -> trainable parameters.
        size: r or block size, for the methods that have one.
        fused: Parameter name -> (experts, out, in) of adapted fused experts, which LoRA alone can have.
    """
    size = 0 if METHODS[method].size_name in (None, "off_diag") else _sized(method, size)
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for key, dtype, shape in (*_tensors(method, shapes, entries, size), *_fused_tensors(fused or {}, size)):
        end = offset + math.prod(shape) * _BYTES[dtype]
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + -(-length // 8) * 8 + offset


def _sized(method: str, size: int | None) -> int:
    if size is None:
        raise SizeError(f"{METHODS[method].title} needs a size.")
    return size


_BYTES = {"F32": 4, "F16": 2, "I64": 8, "I32": 4, "U8": 1}
_STEM = "base_model.model."


def _tensors(
    method: str, shapes: dict[str, Shape], entries: dict[str, int], size: int
) -> Iterator[tuple[str, str, Iterable[int]]]:
    """Yield (key, dtype, shape) of each tensor in the file; of AdaMSS as if clusters were equal and had no biases."""
    if method == "frod":
        for role, in_ in {basis_name(name): in_ for name, (_, in_) in shapes.items()}.items():
            yield f"base_model.frod_V.{role}", "F32", (in_, in_)
            yield f"base_model.frod_s_indices.{role}", "I64", (2, frod_entries(in_, size))
            yield f"base_model.frod_s_size.{role}", "I64", (2,)
    if method == "vera":
        longest_out, longest_in = (max(shape[side] for shape in shapes.values()) for side in (0, 1))
        yield "base_model.vera_A", "F32", (size, longest_in)
        yield "base_model.vera_B", "F32", (longest_out, size)
    for place, (name, (out, in_)) in enumerate(shapes.items()):
        key, n = f"{_STEM}{name}", min(out, in_)
        if method in svft_patterns():
            yield f"{key}.svft_coefficients", "F32", (entries[name],)
            if _stores_indices(method, (out, in_)):
                yield f"{key}.svft_indices", "I32", (entries[name],)
            yield f"{key}.svft_sigma", "F32", (n,)
            yield f"{key}.svft_shape", "I32", (2,)
            yield f"{key}.svft_fingerprint", "U8", (33,)
            yield f"{key}.svft_signature", "F16", (2, n, 2)
        elif method in ("lora", "dora", "mica", *CHANGED_STARTS):
            yield f"{key}.lora_A.weight", "F32", (size, in_)
            yield f"{key}.lora_B.weight", "F32", (out, size)
            if method == "dora":
                yield f"{key}.lora_magnitude_vector", "F32", (out,)
        elif method == "vera":
            yield f"{key}.vera_lambda_b", "F32", (out,)
            yield f"{key}.vera_lambda_d", "F32", (size,)
        elif method == "tinylora":
            r = min(tinylora_rank(size), n)
            yield f"{key}.tinylora_A", "F32", (r, in_)
            yield f"{key}.tinylora_B", "F32", (out, r)
            yield f"{key}.tinylora_P", "F32", (size, r, r)
            yield f"base_model.tinylora_v.{place}", "F32", (size,)
        elif method == "psoft":
            yield f"{key}.psoft_R.weight", "F32", (size * (size - 1) // 2,)
            yield f"{key}.psoft_R.vector_a", "F32", (size,)
            yield f"{key}.psoft_R.vector_b", "F32", (size,)
        elif method == "adamss":
            clusters = min(out, ADAMSS_CLUSTERS)
            for k in range(clusters):
                yield f"{key}.adamss_A.{k}", "F32", (1, size)
                yield f"{key}.adamss_B.{k}", "F32", (out // clusters + (k < out % clusters), 1)
            yield f"{key}.adamss_newB", "F32", (size, in_)
        elif method == "frod":
            yield f"{key}.frod_lambda_l", "F32", (in_,)
            yield f"{key}.frod_lambda_s_values", "F32", (frod_entries(in_, size),)
        elif method == "boft":
            yield f"{key}.boft_R", "F32", (1, in_ // size, size, size)
            yield f"{key}.boft_s", "F32", (out, 1)


def _fused_tensors(fused: dict[str, Stack], r: int) -> Iterator[tuple[str, str, Iterable[int]]]:
    """Yield (key, dtype, shape) of LoRA's tensors: factors of all experts stand one above the other."""
    wrapped: dict[str, int] = {}  # module -> parameters of it that are wrapped; a wrapper holds the next
    for name, (experts, out, in_) in fused.items():
        module = name.rpartition(".")[0]
        key = f"{_STEM}{module}{'.base_layer' * wrapped.get(module, 0)}"
        wrapped[module] = wrapped.get(module, 0) + 1
        yield f"{key}.lora_A.weight", "F32", (r * experts, in_)
        yield f"{key}.lora_B.weight", "F32", (out, r * experts)


def _stores_indices(pattern: str, shape: Shape) -> bool:
    from svft.patterns import PATTERNS, effective_pattern

    registered = PATTERNS.get(effective_pattern(pattern, shape))
    return registered is None or registered.stored  # custom and chosen are indices alone
