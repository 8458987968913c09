"""The model card (README.md) of a trained adapter. Light: it imports no torch."""

from __future__ import annotations

from pathlib import Path

from analysis.training.evaluation import Evaluation
from analysis.training.language.evaluation import PairsEvaluation
from analysis.training.methods import svft_patterns
from analysis.training.tasks import TASKS

_BASELINES = {"head_only": "head only", "full": "full fine-tuning"}
_TITLES = {**_BASELINES, "lora_r1": "LoRA r=1", "lora_r8": "LoRA r=8"}


def write_card(directory: str | Path, evaluation: Evaluation | PairsEvaluation) -> None:
    """Write README.md into an adapter's directory, in place of PEFT's template; of SVFT, with how it is loaded."""
    card = pairs_card(evaluation) if isinstance(evaluation, PairsEvaluation) else model_card(evaluation)
    (Path(directory) / "README.md").write_text(card, encoding="utf-8")
    if evaluation.spec["method"] in svft_patterns():
        from svft.features.card import tell_how_to_load  # torch: not for a card that is only shown

        tell_how_to_load(Path(directory))


def model_card(evaluation: Evaluation) -> str:
    """Return the card: base model, command, seeds, accuracy with its 95% interval, and what it is compared with."""
    spec = evaluation.spec
    lines = [
        *_beginning(spec, f"{_kind(spec['task'])}-classification", evaluation.task_title),
        f"- Labels: {', '.join(evaluation.labels)}",
        f"- Command: `{evaluation.command}`",
        f"- Seed: {spec['seed']}",
        f"- Trainable parameters, excluding the head: {evaluation.budget:,}",
        f"- Training: {evaluation.steps} steps of {spec['batch_size']} on {spec['examples']} examples, AdamW, warm-up "
        f"over the first tenth, then {spec['schedule']}; {_rates(spec)}",
        f"- Accuracy on {evaluation.n_test} test examples: {evaluation.accuracy:.1%} "
        f"(95% interval {evaluation.low:.1%} to {evaluation.high:.1%}, Wilson)",
    ]
    if evaluation.accuracies:
        lines += ["", *_comparison(evaluation)]
    if evaluation.dial is not None:
        off = evaluation.dial.set_index("alpha")["accuracy"].get(0.0)
        lines += ["", f"With M off (α = 0) the same head reaches {off:.1%}; this is not the head-only baseline."]
    return "\n".join([*lines, ""])


def pairs_card(evaluation: PairsEvaluation) -> str:
    """Return the card of a language model that learned pairs: base, command, perplexity before and after."""
    spec = evaluation.spec
    lines = [
        *_beginning(spec, "text-generation", evaluation.title),
        f"- Command: `{evaluation.command}`",
        f"- Seed: {spec['seed']}",
        f"- Trainable parameters: {evaluation.budget:,}",
        f"- Training: {evaluation.steps} steps of {spec['batch_size']} on {spec['examples']} pairs of a prompt and "
        "its completion, whose tokens alone count in the loss; AdamW, warm-up over the first tenth, then "
        f"{spec['schedule']}; learning rate {spec['learning_rate']:g}",
        f"- Perplexity of the completions of {evaluation.held_out} held-out pairs ({evaluation.tokens:,} tokens): "
        f"{evaluation.perplexity_before:.2f} before, {evaluation.perplexity:.2f} after",
    ]
    return "\n".join([*lines, ""])


def _beginning(spec: dict, pipeline: str, title: str) -> list[str]:
    method, size = spec["method"], spec["size"]
    name = f"{method}, size {size}" if size is not None else _TITLES.get(method, method)
    return [
        "---",
        f"base_model: {spec['base']}",
        f"library_name: {'transformers' if method == 'full' else 'peft'}",
        f"pipeline_tag: {pipeline}",
        "---",
        "",
        f"# {title}: {name}",
        "",
        f"- Base model: `{spec['base']}`",
    ]


def _kind(task: str) -> str:
    return TASKS[task].kind if task in TASKS else "text"  # a person's own data, which need not be here


def _rates(spec: dict) -> str:
    head = f"learning rate {spec['head_learning_rate']:g} for the head"
    return head if spec["learning_rate"] is None else f"learning rate {spec['learning_rate']:g}, {head[14:]}"


def _comparison(evaluation: Evaluation) -> list[str]:
    """Accuracies of the seeds, and the performance that was recovered."""
    seeds = ", ".join(map(str, evaluation.seeds))
    rows = []
    for name, values in evaluation.accuracies.items():
        single = ", ".join(f"{value:.1%}" for value in values)
        rows.append(f"| {_TITLES.get(name, name)} | {evaluation.mean_accuracy(name):.1%} | {single} |")
    table = [f"| method | mean | seeds {seeds} |", "|---|---|---|", *rows]
    if evaluation.spec["method"] in _BASELINES:
        return table
    if evaluation.recovered is None:
        recovered = "not defined, because full fine-tuning is not clearly above head only"
    else:
        recovered = (
            f"{evaluation.recovered:.0%} (95% interval {evaluation.recovered_low:.0%} to "
            f"{evaluation.recovered_high:.0%}, paired bootstrap over seeds and test examples)"
        )
    return [*table, "", f"Recovered performance: {recovered}."]
