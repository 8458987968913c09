"""What the commands do on one tiny model: open, compare and convert a LoRA and a fine-tuned copy.

The right update is always merged minus pristine weight, by PEFT itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from typer.testing import CliRunner

from analysis.adapters import open_adapter
from analysis.cli import app
from analysis.models.modules import inside_block
from tests.analysis.families.models import maker, noisy

KINDS = ("LoRA", "full")
STEPS = ("inspect", "compare", "to svft", "to lora")
ALL_STEPS = dict.fromkeys(KINDS, STEPS)
TOLERANCE = 1e-5  # of ‖ΔW‖_F
RANK = 4
TARGETS = {"mamba": ["in_proj", "x_proj"]}  # PEFT refuses Mamba's out_proj, which a kernel reads past the layer

Weights = dict[str, np.ndarray]


@dataclass
class Outcome:
    """What became of one kind of input of one family.

    Attributes:
        matrices: Number of matrices shown.
        error: Largest ‖ΔW − (merged − pristine)‖_F / ‖ΔW‖_F over all matrices and steps.
        failed: Step -> why, in a sentence.
        left_out: What a conversion named as left out.
    """

    matrices: int = 0
    error: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def build(family: str, directory: Path) -> dict[str, Weights]:
    """Write a base, a LoRA of all linear layers and a fine-tuned copy; return the updates of both, by module."""
    make = maker(family)
    make().save_pretrained(str(directory / "base"))
    lora = get_peft_model(make(), LoraConfig(r=RANK, lora_alpha=8, target_modules=TARGETS.get(family, "all-linear")))
    lora.peft_config["default"].base_model_name_or_path = str(directory / "base")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in lora.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    lora.save_pretrained(str(directory / "LoRA"), save_embedding_layers=False)
    full = noisy(make(), 0.01, seed=5)
    full.save_pretrained(str(directory / "full"))
    config = directory / "full" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": str(directory / "base")}))
    return {
        "LoRA": merged_minus_pristine(make(), lora),
        "full": {n: d for n, d in differences(make(), full, linears(full)).items() if inside_block(n)},
    }


def linears(model: nn.Module) -> list[str]:
    """Return the names of the linear layers of a model."""
    return [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))]


def differences(before: nn.Module, after: nn.Module, names: list[str]) -> Weights:
    """Return W' − W (out, in) float64 of linear layers."""
    return {name: _weight(after, name) - _weight(before, name) for name in names}


def merged_minus_pristine(pristine: PreTrainedModel, adapted: PeftModel) -> Weights:
    """Return the update of every adapted linear layer, as PEFT merges it."""
    model = adapted.get_base_model()
    names = [n for n, m in model.named_modules() if isinstance(m, BaseTunerLayer) and n in set(linears(pristine))]
    return differences(pristine, adapted.merge_and_unload(), names)


def _weight(model: nn.Module, name: str) -> np.ndarray:
    module = model.get_submodule(name)
    weight = module.weight.detach().double().numpy()
    return weight.T if isinstance(module, Conv1D) else weight


def check(family: str, directory: Path, steps: dict[str, tuple[str, ...]] = ALL_STEPS) -> dict[str, Outcome]:
    """Run steps (kind -> their names) on a family and return what became of each kind."""
    expected = build(family, directory)
    return {kind: _check_kind(family, directory, kind, expected[kind], steps[kind]) for kind in KINDS}


def _check_kind(family: str, directory: Path, kind: str, expected: Weights, names: tuple[str, ...]) -> Outcome:
    actual = Outcome()
    steps = {"open": _open, "inspect": _inspect, "compare": _compare, "to svft": _to_svft, "to lora": _to_lora}
    for name in names:
        try:
            steps[name](actual, family, directory, kind, expected)
        except Exception as error:  # whatever a step raises is what becomes of it
            actual.failed[name] = (str(error).strip().splitlines() or [repr(error)])[0]
    return actual


def _run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exit_code:
        raise RuntimeError(result.stderr.strip() or repr(result.exception))
    return json.loads(result.stdout)


def _inspect(actual: Outcome, family: str, directory: Path, kind: str, expected: Weights) -> None:
    _open(actual, family, directory, kind, expected)
    assert _run("inspect", directory / kind)["matrices"] == actual.matrices


def _open(actual: Outcome, family: str, directory: Path, kind: str, expected: Weights) -> None:
    adapter = open_adapter(directory / kind)
    actual.matrices = len(adapter.names)
    missing = set(expected) - set(adapter.names)
    assert not missing, f"not shown: {min(missing)} and {len(missing) - 1} more"
    for name, update in expected.items():
        _agree(actual, name, adapter.dense_update(name), update)


def _compare(actual: Outcome, family: str, directory: Path, kind: str, expected: Weights) -> None:
    other = KINDS[1 - KINDS.index(kind)]
    text = _run("compare", directory / kind, directory / other)
    shared = {row["name"] for row in text["matrices"]}
    blocks = {name for name in open_adapter(directory / "LoRA").names if inside_block(name)}
    blocks &= set(open_adapter(directory / "full").names)
    assert blocks, "no matrix in both"
    assert blocks <= shared, f"not compared: {sorted(blocks - shared)[:3]}"


def _to_svft(actual: Outcome, family: str, directory: Path, kind: str, expected: Weights) -> None:
    _convert(actual, family, directory, kind, expected, ("--to", "svft", "--pattern", "plain"))


def _to_lora(actual: Outcome, family: str, directory: Path, kind: str, expected: Weights) -> None:
    _convert(actual, family, directory, kind, expected, ("--to", "lora", "--rank", RANK))


def _convert(
    actual: Outcome, family: str, directory: Path, kind: str, expected: Weights, options: tuple[object, ...]
) -> None:
    """Convert, load the result by PEFT, and compare what it lacks of ΔW with what was said to be lost."""
    output = directory / f"{kind}-{options[1]}"
    text = _run("convert", directory / kind, *options, "--output", output)
    actual.left_out = sorted(set(actual.left_out) | set(text["left_out"]))
    make = maker(family)
    updates = merged_minus_pristine(make(), PeftModel.from_pretrained(make(), str(output)))
    rows = {row["name"]: row for row in text["matrices"]}
    silent = {
        name for name in set(expected) - set(rows) if not any(item.startswith(name) for item in text["left_out"])
    }
    assert not silent, f"neither converted nor named: {sorted(silent)[:3]}"
    for name in set(expected) & set(rows):
        lost = np.linalg.norm(updates[name] - expected[name]) / np.linalg.norm(expected[name])
        assert abs(lost - rows[name]["relative_error"]) < TOLERANCE, (
            f"{name} lacks {lost:.3%} of its update, and {rows[name]['relative_error']:.3%} was said"
        )


def _agree(actual: Outcome, name: str, update: np.ndarray, expected: np.ndarray) -> None:
    assert update.shape == expected.shape, f"{name} has the shape {update.shape}, and {expected.shape} in the model"
    error = float(np.linalg.norm(update - expected) / np.linalg.norm(expected))
    actual.error = max(actual.error, error)
    assert error < TOLERANCE, f"{name} differs by {error:.1e} from merged minus pristine"
