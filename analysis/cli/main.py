"""The command line `svft`: a list of commands, each with its body in a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.cli.errors import Commands
from analysis.cli.shipping import commands
from analysis.common.errors import UserError
from analysis.common.typed import numbers, whole_numbers
from analysis.models.packages import DEFAULT_BASE

Wide = Annotated[bool, typer.Option("--wide", help="Print all columns, however wide the terminal is.")]
SetApart = Annotated[bool, typer.Option("--set-apart", help="Train without the examples of the confirmation split.")]

app = typer.Typer(
    cls=Commands,
    help="Train SVFT adapters and measure what they cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _whole(text: str) -> int:
    """Return a whole number from "1000000", "1_000_000" or "1e6"."""
    number = float(text)
    if number < 1 or number != int(number):
        raise ValueError(text)
    return int(number)


for _command in (commands.train_shipped, commands.pretrain_digits, commands.speak_digits):
    app.command()(_command)

# Bodies are imported inside the commands: torch takes seconds, and `svft --help` should not wait for it.


@app.command()
def train(
    method: Annotated[
        str, typer.Option(help="plain, banded, random, top_k, chosen, lora, dora, vera, boft, head_only, full.")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write the adapter to.")],
    task: Annotated[str | None, typer.Option(help="bbc_headlines, airline_tweets, digits or spoken_digits.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="JSON lines with a prompt and a completion each, for a language model, instead of a task."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="off_diag d, rank r or block size. Default: the method's own.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Entries of M in the whole adapter, instead of a size.")] = None,
    base: Annotated[str | None, typer.Option(help="Hub id or path. Default: the task's own.")] = None,
    target_modules: Annotated[
        list[str] | None, typer.Option(help="Linear layers to adapt, repeatable. Default: all in the blocks.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Default: 100.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: 16.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default: the method's own.")] = None,
    head_learning_rate: Annotated[float | None, typer.Option(help="Default: the method's own.")] = None,
    schedule: Annotated[str | None, typer.Option(help="linear (default), cosine or constant.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: 0.")] = None,
    examples: Annotated[int | None, typer.Option(help="Training examples. Default: the task's own.")] = None,
    set_apart: SetApart = False,
) -> None:
    """Train one method on one task, or on pairs of texts, and write a PEFT adapter directory with a model card."""
    options = {
        name: value for name, value in locals().items() if name not in ("output", "pairs") and value is not None
    }
    if (task is None) == (pairs is None):
        raise UserError("Name a task (--task), or a file of prompts and completions (--pairs).")
    from analysis.cli.train import train_on_pairs, train_to
    from analysis.training.specification import TrainingSpec

    if pairs is not None:
        from analysis.training.language.pairs import register_pairs

        spec = TrainingSpec(register_pairs(pairs).name, **options)
        typer.echo(f"{train_on_pairs(spec, pairs, output)}; written to {output}")
        return
    measured = train_to(TrainingSpec(**options), output)
    typer.echo(
        f"{measured.accuracy:.1%} of {measured.n_test} test examples right "
        f"(95% interval {measured.low:.1%} to {measured.high:.1%}); written to {output}"
    )


@app.command()
def trial(
    task: Annotated[str | None, typer.Option(help="bbc_headlines, airline_tweets, digits or spoken_digits.")] = None,
    methods: Annotated[str, typer.Option(help="Names, or name=size: plain,banded,lora=1,full.")] = "",
    budgets: Annotated[str, typer.Option(help="Trainable parameters, excluding the head: 41472,331776.")] = "",
    seeds: Annotated[str, typer.Option(help="0,1,2 or 0-4.")] = "0",
    study: Annotated[Path | None, typer.Option(help="A study file (JSON) instead of the options above.")] = None,
    rates_from: Annotated[
        Path | None, typer.Option(help="File of a sweep at a budget: its best rates, on the confirmation split.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Default: 100.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: 16.")] = None,
    examples: Annotated[int | None, typer.Option(help="Training examples. Default: the task's own.")] = None,
    base: Annotated[str | None, typer.Option(help="Hub id or path. Default: the task's own.")] = None,
    target_modules: Annotated[
        list[str] | None, typer.Option(help="Linear layers to adapt, repeatable. Default: all in the blocks.")
    ] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between two evaluations. Default: 10.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for the study and its results.")] = None,
    workers: Annotated[int | None, typer.Option(help="Local worker processes. Default: one per core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(envvar="SVFT_SCHEDULER", help="Address of a Dask scheduler to use instead.")
    ] = None,
    wide: Wide = False,
) -> None:
    """Train methods × budgets × seeds side by side, with a live table; the same command continues what it left."""
    from analysis.cli import trial as body
    from analysis.trials.study import Study

    if study is not None:
        chosen = body.read_study_file(study).study
    elif rates_from is not None:
        from analysis.trials.confirmation import confirmation_study

        chosen = confirmation_study(body.read_study_file(rates_from), whole_numbers(seeds))
    elif task is None:
        raise UserError("Name a task (--task), or a study file (--study).")
    else:
        names, sizes = body.parse_methods(methods)
        given: dict[str, Any] = {
            "steps": steps,
            "batch_size": batch_size,
            "examples": examples,
            "base": base,
            "evaluate_every": evaluate_every,
        }
        chosen = Study(
            task,
            names,
            budgets=whole_numbers(budgets),
            sizes=sizes,
            seeds=whole_numbers(seeds),
            target_modules=tuple(target_modules) if target_modules else None,
            **{key: value for key, value in given.items() if value is not None},
        )
    store, id = body.run_study(chosen, name=f"{chosen.task}, command line", workers=workers, scheduler=scheduler)
    body.finish(store, id, output, wide)


@app.command()
def sweep(
    task: Annotated[str, typer.Option(help="bbc_headlines, airline_tweets, digits or spoken_digits.")],
    methods: Annotated[str, typer.Option(help="Names, or name=size: plain,banded,lora=1,full.")],
    rates: Annotated[
        str,
        typer.Option(
            help="Learning rates at the smallest size (they fall with it). Default: five around the method's own."
        ),
    ] = "",
    head_rates: Annotated[str, typer.Option(help="Learning rates of the head. Default: the method's own.")] = "",
    budgets: Annotated[str, typer.Option(help="Trainable parameters, instead of sizes: 346,1382.")] = "",
    seeds: Annotated[str, typer.Option(help="0,1,2 or 0-4.")] = "0",
    base: Annotated[str | None, typer.Option(help="Hub id or path. Default: the task's own.")] = None,
    set_apart: SetApart = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for the study and its results.")] = None,
    workers: Annotated[int | None, typer.Option(help="Local worker processes. Default: one per core.")] = None,
    wide: Wide = False,
) -> None:
    """Find learning rates: train each method at several, and compare on the validation split."""
    from analysis.cli import trial as body

    names, sizes = body.parse_methods(methods)
    chosen = body.sweep_study(
        task,
        names,
        sizes,
        numbers(rates),
        whole_numbers(seeds),
        base,
        budgets=whole_numbers(budgets),
        head_rates=numbers(head_rates),
        set_apart=set_apart,
    )
    store, id = body.run_study(chosen, name=f"{task}, learning rates", workers=workers, scheduler=None)
    if output is not None:
        body.write(store, id, output)
    body.print_sweep(store, id, wide)


@app.command()
def choose(
    task: Annotated[str, typer.Option(help="bbc_headlines, airline_tweets, digits or spoken_digits.")],
    budget: Annotated[int, typer.Option(help="Entries of M in the whole adapter.")],
    base: Annotated[str | None, typer.Option(help="Hub id or path. Default: the task's own.")] = None,
    target_modules: Annotated[
        list[str] | None, typer.Option(help="Linear layers to adapt, repeatable. Default: all in the blocks.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training examples and the head.")] = 0,
    examples: Annotated[int | None, typer.Option(help="Training examples. Default: the task's own.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for the entries, as SvftConfig takes them.")] = None,
    wide: Wide = False,
) -> None:
    """Choose the entries of M from data, before training: those that the loss asks for first."""
    from analysis.cli.choose import choose_to
    from analysis.training.specification import TrainingSpec

    targets = tuple(target_modules) if target_modules else None
    spec = TrainingSpec(task, "chosen", budget=budget, base=base, target_modules=targets, seed=seed, examples=examples)
    choose_to(spec, output, wide)


@app.command()
def diagnose(
    task: Annotated[str, typer.Option(help="bbc_headlines, airline_tweets, digits or spoken_digits.")],
    budgets: Annotated[str, typer.Option(help="Entries of M in the whole model: 346,1382.")],
    base: Annotated[str | None, typer.Option(help="Hub id or path. Default: the task's own.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training examples, the head and the patterns.")] = 0,
    wide: Wide = False,
) -> None:
    """Say what each pattern can follow of the gradient, before anything is trained."""
    from analysis.cli.choose import print_diagnosis
    from analysis.training.specification import TrainingSpec

    print_diagnosis(TrainingSpec(task, "head_only", base=base, seed=seed), whole_numbers(budgets), wide)


@app.command()
def results(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Study files (JSON). Default: those that ship with this project.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    wide: Wide = False,
) -> None:
    """Print what studies found: accuracy, recovered performance, cost, and where the paper's central claim holds."""
    from analysis.cli.results import print_results

    print_results(files or [], markdown, wide)


@app.command("benchmark")
def run_benchmark(
    rounds: Annotated[int, typer.Option(min=1, help="Measured steps of each method; medians are compared.")] = 7,
    app: Annotated[bool, typer.Option("--app", help="Measure the app instead: how long its visitors wait.")] = False,
    talk: Annotated[bool, typer.Option("--talk", help="Measure the language model: writing and training.")] = False,
    clients: Annotated[int, typer.Option(min=1, help="With --app: visitors at the same time.")] = 30,
    seconds: Annotated[int, typer.Option(min=1, help="With --app: how long they stay.")] = 60,
    output: Annotated[Path | None, typer.Option(help="JSON file for the tables as well.")] = None,
    wide: Wide = False,
) -> None:
    """Print what SVFT costs: training steps, memory, decomposition, analysis; or what the app does.

    Takes up to an hour on a CPU without bfloat16 units; the app, some minutes.
    """
    from analysis.cli import benchmark as body

    if talk:
        body.benchmark_talk(output, wide)
    elif app:
        body.benchmark_app(clients, seconds, output, wide)
    else:
        body.run_benchmark(rounds, output, wide)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Directory of an adapter.")],
    second: Annotated[Path, typer.Argument(help="Directory of another one, of the same base.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Id or path of the base model of both, in place of the one that they name.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="HTML file for the similarity maps.")] = None,
    wide: Wide = False,
) -> None:
    """Compare two adapters matrix by matrix: size, cosine and shared directions, each beside its chance level."""
    from analysis.adapters.opening import open_adapter
    from analysis.cli import compare as body

    body.compare(open_adapter(first, base), open_adapter(second, base), as_json=as_json, figure=figure, wide=wide)


@app.command()
def budget(
    model: Annotated[
        str, typer.Argument(help="A preset (Gemma-2B, LLaMA-3-8B, …), a Hub id, a directory or a config.json.")
    ] = DEFAULT_BASE,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Kind of weights to adapt (query, MLP up, …), repeatable.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Size all methods like a LoRA of this rank. Default: 8.")
    ] = None,
    off_diag: Annotated[int | None, typer.Option(min=0, help="Size them like SVFT banded with this d.")] = None,
    parameters: Annotated[
        int | None, typer.Option(parser=_whole, metavar="N", help="Size them to this many parameters, such as 1e6.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(min=0, help="Recommend a method for an accelerator with this much memory.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 16,
    length: Annotated[int, typer.Option(min=1, help="Tokens per example.")] = 128,
    dtype: Annotated[
        str | None,
        typer.Option(help="Type of the base's weights. Default: float32, or bfloat16 with --memory-gb."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="Check the counts that the SVFT paper publishes.")] = False,
    wide: Wide = False,
) -> None:
    """Print what each method would train, store and need on a model, from its configuration alone."""
    from analysis.cli import budget as body

    if paper:
        body.print_paper(as_json, wide)
    else:
        body.print_budget(
            model,
            kinds,
            {"rank": rank, "off-diag": off_diag, "parameters": parameters},
            body.Step(batch, length, dtype or ("float32" if memory_gb is None else "bfloat16")),
            memory_gb=memory_gb,
            as_json=as_json,
            wide=wide,
        )


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Directory of an adapter, or of a whole fine-tuned model.")],
    base: Annotated[str | None, typer.Option(help="Id or path of the base. Default: the one the files name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(help="HTML file for the main figures.")] = None,
    wide: Wide = False,
) -> None:
    """Say what an adapter is, and what it did to each matrix: norms, ranks, and how far it is from noise."""
    from analysis.adapters.opening import open_adapter
    from analysis.cli import inspect as body

    body.inspect(open_adapter(path, base), as_json=as_json, html=html, wide=wide)


@app.command()
def convert(
    path: Annotated[
        Path, typer.Argument(help="An adapter, a whole model, or a checkpoint of the SVFT authors' code.")
    ],
    to: Annotated[str, typer.Option(help="lora, merged, svft or authors.")],
    output: Annotated[Path, typer.Option(help="Directory to write the result to.")],
    rank: Annotated[int | None, typer.Option(help="Of lora.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="For svft: plain, banded, random, top_k, or best (largest entries).")
    ] = None,
    size: Annotated[int | None, typer.Option(help="off_diag d of the pattern.")] = None,
    budget: Annotated[int | None, typer.Option(help="Entries of the whole adapter, instead of --size.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random pattern.")] = 0,
    base: Annotated[str | None, typer.Option(help="Id or path of the base. Default: the one the files name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    wide: Wide = False,
) -> None:
    """Convert to LoRA, a merged model, another pattern or the authors’ layers, and report what each matrix lost."""
    from analysis.cli import convert as body

    body.convert(
        path,
        to,
        output,
        as_json=as_json,
        wide=wide,
        base=base,
        rank=rank,
        pattern=pattern,
        off_diag=size,
        budget=budget,
        seed=seed,
    )


@app.command()
def decompose(
    output: Annotated[Path, typer.Option(help="Directory for the files, one per weight.")],
    model: Annotated[str, typer.Argument(help="Hub id in the local cache, or a directory.")] = DEFAULT_BASE,
    target_modules: Annotated[
        list[str] | None, typer.Option(help="Linear layers, repeatable. Default: all in the blocks.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Leading directions to keep. Default: all.")] = None,
    workers: Annotated[int | None, typer.Option(help="Local worker processes. Default: one per core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(envvar="SVFT_SCHEDULER", help="Address of a Dask scheduler to use instead.")
    ] = None,
) -> None:
    """Decompose a base model once, into files that others read instead of computing them."""
    from analysis.cli.decompose import decompose_to

    decompose_to(model, output, tuple(target_modules) if target_modules else None, rank, workers, scheduler)


@app.command()
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete every cached decomposition and unpacked model.")
    ] = False,
) -> None:
    """Show, or clear, the cache of singular value decompositions."""
    from analysis.models.packed.unpacking import clear_unpacked
    from svft.cache import cache_directory, cache_files, cache_limit, clear_cache

    if clear:
        typer.echo(f"{(clear_cache() + clear_unpacked()) / 1e6:,.0f} MB freed in {cache_directory()}")
        return
    files = cache_files()
    size = sum(file.stat().st_size for file in files)
    typer.echo(
        f"{cache_directory()}: {len(files)} files, {size / 1e6:,.0f} MB of at most "
        f"{cache_limit() / 1e9:g} GB (SVFT_CACHE_LIMIT_GB). Clear it with: svft cache --clear"
    )


if __name__ == "__main__":
    app()
