"""What SVFT costs: time and memory of training steps, of single layers, of decomposition and of analysis.

All methods of a table are compared within one run (`analysis.planning.cost`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pandas as pd
import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import nn

from analysis.common.environment import environment
from analysis.common.linear_algebra import singular_values, sparse
from analysis.models.loading import DEFAULT_BASE, block_linears, linear_shapes, load_base
from analysis.planning.cost import Contestant, interleave
from analysis.planning.sizing import size_label
from analysis.training.methods import METHODS, Options
from analysis.training.specification import TrainingSpec
from svft.cache import decompose
from svft.coefficients import dense_coefficients
from svft.patterns import banded_indices, spread_budget

REFERENCE = "lora"
# (rows, tokens, precision) of the training steps
SHAPES = ((16, 32, "float32"), (16, 128, "float32"), (16, 128, "bfloat16 autocast"))
# Entries in the whole model that are few; 1,382 are 0.006% of the parameters
FEW_ENTRIES = (1382, 4147)
LARGE_LAYER = (16384, 2048)  # (out, in): the MLP of Gemma-2B
LARGE_OFF_DIAG = 16
DENSE_REBUILD = "dense rebuild"

Report = Callable[[str], None]


class DenseRebuild(nn.Module):
    """SVFT as its authors' code computes it: the whole U(Σ + M)Vᵀ is built anew in every forward pass.

    Args:
        layer: The linear layer to adapt; its weight is decomposed.
        off_diag: Half-width of the band.
    """

    def __init__(self, layer: nn.Linear, off_diag: int) -> None:
        super().__init__()
        decomposition = decompose(layer.weight)
        self.bias = layer.bias
        self.U: torch.Tensor
        self.sigma: torch.Tensor
        self.V: torch.Tensor
        self.indices: torch.Tensor
        self.register_buffer("U", decomposition.U)
        self.register_buffer("sigma", decomposition.sigma)
        self.register_buffer("V", decomposition.V)
        self.register_buffer("indices", banded_indices(len(decomposition.sigma), off_diag))
        self.values = nn.Parameter(torch.zeros(len(self.indices)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the adapted layer's output (..., out) for x (..., in)."""
        M = dense_coefficients(self.values, self.indices, len(self.sigma))
        weight = self.U @ (torch.diag(self.sigma) + M) @ self.V.T
        return F.linear(x, weight, self.bias)


def training_steps(rounds: int, report: Report = lambda _: None) -> Iterator[pd.DataFrame]:
    """Measure training steps of every method on the default base, all its 36 matrices adapted.

    Args:
        rounds: Measured steps of each method and shape; the medians are compared.
        report: Told what is being measured.

    Yields:
        A table for each shape, one row per method, and one for each pattern at few entries: ``rows``, ``tokens``,
        ``precision``, ``method``, ``trainable``, ``seconds`` (median), ``time_ratio`` (to LoRA r=8), ``peak_bytes``,
        ``memory_ratio``.
    """
    report("building the models")
    models = _models()
    for rows, tokens, precision in SHAPES:
        report(f"training steps of {rows}×{tokens} tokens, {precision}")
        contestants = [contestant(name, model, rows, tokens, precision) for name, model in models.items()]
        table = interleave(contestants, rounds, size_label(REFERENCE, 8))
        table.insert(0, "rows", rows)
        table.insert(1, "tokens", tokens)
        table.insert(2, "precision", precision)
        yield table


def large_layer(rounds: int, report: Report = lambda _: None) -> pd.DataFrame:
    """Measure one layer of 2048×16384 (out 16384) with d = 16 in every pattern, forward and backward of 512 tokens.

    Returns:
        One row per pattern: ``method``, ``trainable``, ``seconds`` (median), ``time_ratio`` (to LoRA r=8),
        ``peak_bytes``, ``memory_ratio``. Memory includes W, and U and V if the method keeps them.
    """
    out, in_ = LARGE_LAYER
    report(f"decomposing a weight of {in_}×{out}")
    torch.manual_seed(0)
    weight = torch.randn(out, in_) / in_**0.5
    contestants = []
    for name in ("lora", "plain", "banded", "random", "top_k"):
        report(f"one layer of {in_}×{out}: building {name}")
        linear = nn.Linear(in_, out, bias=False)
        linear.weight.data = weight  # shared by all: none of them changes it
        model = nn.Sequential()
        model.add_module("linear", linear)
        method = METHODS[name]
        assert method.config is not None  # which full fine-tuning alone has not
        size = None if method.size_name is None else (8 if name == "lora" else LARGE_OFF_DIAG)
        adapted = get_peft_model(model, method.config(name, Options(size=size), ["linear"]))
        x = torch.randn(512, in_, requires_grad=True)

        def step(adapted: nn.Module = adapted, x: torch.Tensor = x) -> None:
            adapted(x).sum().backward()

        contestants.append(Contestant(size_label(name, size), adapted, step))
    report(f"one layer of {in_}×{out}: forward and backward")
    return interleave(contestants, rounds, size_label(REFERENCE, 8))


def decomposition_times() -> pd.DataFrame:
    """Time the decomposition of the default base's 36 matrices: the first time, and from the cache.

    Returns:
        Two rows: ``what``, ``seconds``.
    """
    base = load_base(DEFAULT_BASE, ["a", "b"])
    weights = [base.get_parameter(f"{name}.weight") for name in block_linears(base)]
    rows = []
    with _fresh_cache():
        for what in ("first time", "from the cache"):
            start = time.perf_counter()
            for weight in weights:
                decompose(weight)
            rows.append({"what": f"{len(weights)} matrices, {what}", "seconds": time.perf_counter() - start})
    return pd.DataFrame(rows)


def singular_values_of_update() -> pd.DataFrame:
    """Time the singular values of the update of one 2048×16384 matrix (banded, d = 16): through M, and directly.

    ΔW = U M Vᵀ has the singular values of M, since U and V have orthonormal columns.

    Returns:
        Two rows: ``what``, ``seconds``, ``largest_difference`` (relative to σ₁, against the direct way).
    """
    out, in_ = LARGE_LAYER
    n = min(out, in_)
    torch.manual_seed(0)
    indices = banded_indices(n, LARGE_OFF_DIAG)
    values = torch.randn(len(indices))
    M = dense_coefficients(values, indices, n)
    U, V = (torch.linalg.qr(torch.randn(rows, n)).Q for rows in (out, in_))
    update = U @ M @ V.T
    start = time.perf_counter()
    through_m = singular_values(sparse((indices // n).numpy(), (indices % n).numpy(), values.double().numpy(), n))
    fast = time.perf_counter() - start
    start = time.perf_counter()
    direct = torch.linalg.svdvals(update)
    slow = time.perf_counter() - start
    difference = float(abs(through_m - direct.double().numpy()).max() / through_m[0])
    return pd.DataFrame(
        [
            {"what": "through M", "seconds": fast, "largest_difference": difference},
            {"what": "from the dense ΔW", "seconds": slow, "largest_difference": 0.0},
        ]
    )


def _models() -> dict[str, nn.Module]:
    """Return a freshly built model for each method, and for each pattern at few entries, by title."""
    models: dict[str, nn.Module] = {}
    for name, method in METHODS.items():
        if name in ("head_only", "custom", "chosen"):  # at its usual size chosen trains as random does
            continue
        models[size_label(name, method.size)] = _build(name, TrainingSpec("bbc_headlines", name).resolved().options)
    for budget in FEW_ENTRIES:
        for name in ("plain", "random"):
            options = TrainingSpec("bbc_headlines", name, budget=budget).resolved().options
            models[f"{METHODS[name].title}, {budget:,} entries"] = _build(name, options)
        models[f"{METHODS['chosen'].title}, {budget:,} entries"] = _build_chosen(budget)
    base = load_base(DEFAULT_BASE, ["a", "b", "c", "d", "e"])
    base.requires_grad_(False)
    base.classifier.requires_grad_(True)
    d = METHODS["banded"].size or 0
    for name in block_linears(base):
        linear = base.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        base.set_submodule(name, DenseRebuild(linear, d))
    models[f"{size_label('banded', d)}, {DENSE_REBUILD}"] = base
    return models


def _build(name: str, options: Options) -> nn.Module:
    base = load_base(DEFAULT_BASE, ["a", "b", "c", "d", "e"])
    return METHODS[name].build(base, options, block_linears(base))


def _build_chosen(budget: int) -> nn.Module:
    """Return a model with one entry a row and column, as a choice from data has them, at random places."""
    base = load_base(DEFAULT_BASE, ["a", "b", "c", "d", "e"])
    shapes = linear_shapes(base)
    sizes = [min(shape) for shape in shapes.values()]
    generator = torch.Generator().manual_seed(0)
    chosen = {
        name: list(zip(*(torch.randperm(n, generator=generator)[:k].tolist() for _ in "ij")))
        for name, n, k in zip(shapes, sizes, spread_budget(budget, sizes), strict=True)
    }
    return METHODS["chosen"].build(base, Options(chosen_indices=chosen), list(shapes))


def contestant(name: str, model: nn.Module, rows: int, tokens: int, precision: str) -> Contestant:
    """Return a classifier of five classes with AdamW steps of random tokens, as every table of training steps has."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (rows, tokens), generator=generator)
    labels = torch.randint(0, 5, (rows,), generator=generator)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    model.train()

    def step() -> None:
        context = nullcontext() if precision == "float32" else torch.autocast("cpu", torch.bfloat16)
        with context:
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Contestant(name, model, step)


@contextmanager
def _fresh_cache() -> Iterator[None]:
    """Use an empty cache of decompositions, so that the first time is a first time."""
    with tempfile.TemporaryDirectory() as directory, environment("SVFT_CACHE_DIR", directory):
        yield
