"""Small tables with the columns that `analysis` documents, for figures to be drawn from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.lessons import picture
from analysis.measures.brush import Brush
from analysis.measures.noise import Level
from analysis.measures.null import EntryNull
from analysis.trials import results
from tests.analysis.synthetic import make_matrix
from tests.analysis.trials.outcomes import CONFIGURATIONS, study

KINDS = ("query", "key", "value", "attention out", "MLP up", "MLP down")


def entries_table(n: int, flat: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Return the table of `analysis.measures.coefficients.entries` for Gaussian values at the flat indices `flat`."""
    i, j = np.asarray(flat) // n, np.asarray(flat) % n
    value = np.random.default_rng(seed).standard_normal(len(i))
    sigma = np.linspace(2, 1, n)
    columns = {"i": i, "j": j, "offset": j - i, "value": value, "sigma_i": sigma[i], "sigma_j": sigma[j]}
    return pd.DataFrame(columns).assign(relative=value / np.sqrt(sigma[i] * sigma[j]))


def weight_row(number: int, layer: int, kind: str, sigma: np.ndarray) -> dict:
    """Return a row of `analysis.measures.weights.weight_steps`."""
    head = {"name": f"w{number}", "layer": layer, "kind": kind, "label": f"Layer {layer} · {kind}"}
    return head | {"out": len(sigma), "in": 2 * len(sigma), "sigma": sigma, "reason": ""}


# A condition number of 1e6, one without bound, an ordinary one, and a weight of zeros.
WEIGHTS = [
    weight_row(0, 0, "query", np.geomspace(5, 5e-6, 24)),
    weight_row(1, 0, "key", np.linspace(3, 0, 24)),
    weight_row(2, 1, "query", np.linspace(3, 1, 24)),
    weight_row(3, 1, "key", np.zeros(24)),
]


def band(n: int, d: int) -> np.ndarray:
    """Return the flat indices of |j − i| ≤ d."""
    i, j = np.indices((n, n))
    return np.flatnonzero(np.abs(j - i) <= d)


def scattered(n: int, k: int, seed: int = 0) -> np.ndarray:
    """Return k distinct flat indices."""
    return np.sort(np.random.default_rng(seed).choice(n * n, k, replace=False))


def mixed_vectors() -> tuple[np.ndarray, np.ndarray]:
    """Return cosines and turned degrees of `analysis.lessons.picture.mixing` for one entry beside the diagonal."""
    M = np.zeros((6, 6))
    M[1, 2] = 0.8
    actual = picture.mixing(np.linspace(3, 1, 6), M)
    return actual.left, actual.turned


def reach_table() -> pd.DataFrame:
    """Return a table of `analysis.lessons.lemma.reach_table`."""
    rows = [
        ("square 24×24", "all of M", 1.0, 0.0, 0.0, 0.0),
        ("square 24×24", "your Ω", 0.1, 0.9, 0.0, 0.9),
        ("rectangular 96×24", "all of M", 0.25, 0.0, 0.75, 0.75),
        ("rectangular 96×24", "your Ω", 0.02, 0.23, 0.75, 0.98),
    ]
    columns = ["weight", "pattern", "reached", "not_in_pattern", "outside_basis", "residual"]
    return pd.DataFrame(rows, columns=columns)


def growth_table() -> pd.DataFrame:
    """Return a table of `analysis.lessons.claims.growth` of three runs."""
    rows = [(1, 0, 4, 1, 7, 4, 1, 7), (2, 1, -1, -4, 2, 1.5, -3, 5), (3, 2, 3, 0, 6, 2, 0.5, 4)]
    columns = ["runs", "seed", "difference", "low", "high", "pooled", "pooled_low", "pooled_high"]
    return pd.DataFrame(rows, columns=columns)


def matrices_table(layers: int, kinds: tuple[str, ...] = KINDS) -> pd.DataFrame:
    """Return name, label, layer and kind of every matrix of a model."""
    rows = [
        {"name": f"encoder.{layer}.{kind}", "label": f"Layer {layer} · {kind}", "layer": layer, "kind": kind}
        for layer in range(layers)
        for kind in kinds
    ]
    return pd.DataFrame(rows)


def wall_table(layers: int, n: int, kinds: tuple[str, ...] = KINDS, seed: int = 0) -> pd.DataFrame:
    """Return the table of `analysis.measures.overview.wall` for Gaussian values."""
    wall = matrices_table(layers, kinds).merge(pd.DataFrame({"index": np.arange(n)}), how="cross")
    return wall.assign(value=np.random.default_rng(seed).standard_normal(len(wall)))


def summary_table() -> pd.DataFrame:
    """Return relative norms of 3 layers; the largest is that of Layer 1 · value."""
    table = matrices_table(3)
    norms = np.linspace(0.01, 0.02, len(table))
    norms[table["label"] == "Layer 1 · value"] = 0.125
    return table.assign(relative_norm=norms)


BOX, RUN = Brush((2, 7), (5, 12)), Brush((2, 9), (-1, 0), "o")  # boxes as they are drawn in the square and the strip


def brush_table() -> pd.DataFrame:
    """Return what a box holds of 3 layers: about chance, nothing in one matrix, much in one, and one is unknown."""
    table = matrices_table(3)
    share = np.full(len(table), 0.02)
    share[[1, 4, 7]] = 0.0, np.nan, 0.3
    return table.assign(
        share=share, noise_share=0.02, noise_low=0.01, noise_high=0.03, stands_out=np.arange(len(table)) == 7
    )


def spectrum_table(n: int) -> pd.DataFrame:
    """Return a spectrum in which direction 3 changes most, one vector changes place and two turn."""
    index = np.arange(n)
    delta = 0.01 * (-1.0) ** index
    delta[3] = -0.5
    return pd.DataFrame(
        {
            "index": index,
            "sigma": np.linspace(5, 1, n),
            "delta": delta,
            "moved": pd.array(index == 3, dtype="boolean"),
            "turned": np.isin(index, (4, 5)),
        }
    )


def dial_table() -> pd.DataFrame:
    """Return accuracies of 20, 69, 86, 70 and 40% at α = −1 … 3."""
    accuracy = np.array([0.20, 0.69, 0.86, 0.70, 0.40])
    alphas = np.arange(-1.0, 4.0)
    return pd.DataFrame({"alpha": alphas, "accuracy": accuracy, "low": accuracy - 0.03, "high": accuracy + 0.03})


FRACTIONS = np.linspace(0, 1, 101)


def _through(place: float) -> np.ndarray:
    return np.interp(FRACTIONS, [0, place, 1], [0, 0.9, 1])


def concentration_table() -> pd.DataFrame:
    """Return a curve that reaches 90% of the energy at 30% of the entries."""
    return pd.DataFrame({"fraction_of_entries": FRACTIONS, "energy_share": _through(0.3)})


def concentration_null() -> EntryNull:
    """Return noise that reaches 90% of the energy at 45% of the entries."""
    places = {"noise_low": 0.47, "noise_mid": 0.45, "noise_high": 0.43}
    curve = pd.DataFrame({name: _through(place) for name, place in places.items()})
    return EntryNull(curve, Level(0.45, 0.43, 0.47))


def energy_table(n: int) -> pd.DataFrame:
    """Return a ΔW whose n directions are equally strong."""
    return pd.DataFrame({"directions": np.arange(n + 1), "energy_share": np.arange(n + 1) / n})


def energy_null(n: int) -> pd.DataFrame:
    """Return noise whose n directions are equally strong, on average."""
    share = np.arange(n + 1) / n
    return pd.DataFrame({"noise_low": 0.9 * share, "noise_mid": share, "noise_high": np.minimum(1.1 * share, 1)})


def profile_table(reach: int) -> pd.DataFrame:
    """Return the energy by offset of a band whose diagonal holds twice what noise would."""
    offset = np.arange(-reach, reach + 1)
    noise = np.full(len(offset), 1 / len(offset))
    share = np.where(offset == 0, 2.0, 1.0) / (len(offset) + 1)
    return pd.DataFrame(
        {
            "offset": offset,
            "width": 1,
            "share": share,
            "noise_share": noise,
            "noise_low": noise * 0.9,
            "noise_high": noise * 1.1,
            "stands_out": offset == 0,
        }
    )


def overlap_table(n: int) -> pd.DataFrame:
    """Return an overlap of 1 but for r = 2."""
    r = np.arange(1, n + 1)
    kept = np.where(r == 2, 0.75, 1.0)
    return pd.DataFrame({"r": r, "overlap_left": kept, "overlap_right": kept, "chance": r / n})


def intruder_table() -> pd.DataFrame:
    """Return ten new vectors, one of which is an intruder."""
    cosine = np.full(10, 0.99)
    cosine[4] = 0.3
    columns = {"rank_new": np.arange(10), "max_cosine_left": cosine, "max_cosine_right": cosine}
    return pd.DataFrame(columns).assign(intruder=cosine < 0.6)


def prediction_table() -> pd.DataFrame:
    """Return three labels, of which sport leads."""
    return pd.DataFrame({"label": ["business", "sport", "politics"], "probability": [0.15, 0.8, 0.05]})


def film_values(k: int, evaluations: int = 5, seed: int = 0) -> np.ndarray:
    """Return M at each evaluation, (evaluations, k): zero at first, then a random walk."""
    steps = np.random.default_rng(seed).standard_normal((evaluations, k))
    return np.cumsum(np.where(np.arange(evaluations)[:, None] > 0, steps, 0), axis=0)


def cost_table() -> pd.DataFrame:
    """Return costs at which SVFT plain takes 1.5 times as long as LoRA r=1, and 2.5 times its memory."""
    table = pd.DataFrame(
        [{"label": label, "method": method, "parameters": k} for label, (method, k, _) in CONFIGURATIONS.items()]
    )
    plain = table["label"] == "SVFT plain"
    ratios = {"time_ratio": np.where(plain, 1.5, 1.0), "memory_ratio": np.where(plain, 2.5, 1.0)}
    return table.assign(**ratios, seconds=0.25 * ratios["time_ratio"], peak_bytes=2**28 * ratios["memory_ratio"])


REFERENCE = "LoRA r=1"
# The study that stands behind, with all configurations; and one's own, of one seed.
TRIALS, TRUTH = study(seeds=3, n=200)
OWN_TRIALS, OWN_TRUTH = study(
    seeds=1, n=200, labels=["head only", "SVFT plain", "SVFT banded d=1", REFERENCE, "full fine-tuning"], seed=1
)
SUMMARY, OWN = results.summarize(TRIALS, TRUTH), results.summarize(OWN_TRIALS, OWN_TRUTH)
_PLACES = np.arange(len(SUMMARY)) / 100  # head only first, which is left as it was
FORGOTTEN = SUMMARY.assign(
    **{"drift": _PLACES, "drift_low": 0.9 * _PLACES, "drift_high": 1.1 * _PLACES, "neighbours_changed": 5 * _PLACES},
    retrieval=0.6 - _PLACES,
    retrieval_before=0.6,
)
DIFFERENCES = results.paired_differences(TRIALS, TRUTH, REFERENCE)
OWN_DIFFERENCES = results.paired_differences(OWN_TRIALS, OWN_TRUTH, REFERENCE)
CONFUSION, OTHER = (results.confusion(TRIALS, TRUTH, label) for label in ("SVFT plain", REFERENCE))
TOPICS = ("business", "entertainment", "politics", "sport", "tech")

FULL = make_matrix(*np.divmod(np.arange(24 * 24), 24), m=24)
DIAGONAL_MATRIX = make_matrix(np.arange(24), np.arange(24), m=24)
BAND, SPREAD = entries_table(24, band(24, 2)), entries_table(24, scattered(24, 100))
DIAGONAL = entries_table(24, band(24, 0))


def comparison_table() -> pd.DataFrame:
    """Return the table of `measures.comparison.compare_adapters` for 3 layers, in one of which nothing is defined."""
    table = matrices_table(3)
    rng = np.random.default_rng(0)
    table = table.assign(
        cosine=rng.uniform(-1, 1, len(table)), chance_cosine=0.05, directions=10,
        chance_left=0.026, chance_left_low=0.02, chance_left_high=0.03, chance_right=0.026, chance_right_low=0.02,
        chance_right_high=0.03,
        overlap_left=rng.random(len(table)), overlap_right=rng.random(len(table)),
    )  # fmt: skip
    table.loc[3, ["cosine", "overlap_left", "overlap_right"]] = np.nan
    return table


def outcomes_table() -> pd.DataFrame:
    """Return accuracies as trained, with M off, and after two edits, one of which was guessed."""
    accuracy = np.array([0.83, 0.46, 0.39, 0.8])
    return pd.DataFrame(
        {
            "label": ["As trained", "M off", "Shuffle M", "Signs only"],
            "accuracy": accuracy,
            "low": accuracy - 0.03,
            "high": accuracy + 0.03,
            "guess": [np.nan, np.nan, 0.6, np.nan],
        }
    )


def outcome_curve() -> pd.DataFrame:
    """Return accuracy over an amount."""
    accuracy = np.array([0.5, 0.7, 0.8])
    return pd.DataFrame(
        {"amount": [0.1, 0.3, 1.0], "accuracy": accuracy, "low": accuracy - 0.03, "high": accuracy + 0.03}
    )


CURVE = {"trained": 0.83, "off": 0.46, "what": "part that stays", "ticks": [0.1, 0.3, 0.5, 1.0], "pattern": "plain"}
TWO = {"names": ("BBC headlines · plain", "BBC headlines · banded"), "patterns": ("plain", "banded")}


def curves_table() -> pd.DataFrame:
    """Return parameters by size as `analysis.planning.budgets.size_curves` does, of n = 384 in 36 matrices."""
    rows = [("plain", "SVFT plain", None, None, 13_824)]
    for size in (0, 1, 2, 4, 8, 16):
        band = 36 * (384 * (2 * size + 1) - size * (size + 1))
        rows += [(method, f"SVFT {method}", "off_diag", size, band) for method in ("banded", "random", "top_k")]
        if size:
            rows += [("lora", "LoRA", "r", size, 41_472 * size), ("vera", "VeRA", "r", size, 20_736 + 36 * size)]
    table = pd.DataFrame(rows, columns=["method", "title", "size_name", "size", "count"])
    return table.assign(share=table["count"] / 22_713_216)


def memory_table() -> pd.DataFrame:
    """Return bytes by term as `analysis.planning.memory.memory_rows` does."""
    terms = ["weights", "basis", "adapter", "optimizer", "gradients", "activations"]
    rows = {
        "SVFT plain": (90.9, 63.7, 0.2, 0.1, 0.1, 575.9),
        "LoRA r=8": (90.9, 0, 1.3, 2.7, 0.2, 590.6),
        "full fine-tuning": (90.9, 0, 0, 181.7, 11.2, 577.0),
    }
    table = pd.DataFrame(rows.values(), columns=terms) * 1e6
    table.insert(0, "label", list(rows))
    return table.assign(method=["plain", "lora", "full"], peak=table[terms].sum(axis=1), note="")


def capture_table() -> pd.DataFrame:
    """Return what two patterns capture of a gradient at two budgets."""
    rows = [("plain", 36, 36, 0.001, 0.0005), ("plain", 360, 360, 0.004, 0.005), ("chosen", 360, 360, 0.06, 0.006)]
    return pd.DataFrame(rows, columns=["pattern", "budget", "entries", "captured", "chance"])


def scored_table() -> pd.DataFrame:
    """Return four chosen entries of two matrices whose trained size falls with their score."""
    rows = [("a", 0, 1, 4.0, -0.1), ("a", 3, 1, 3.0, 0.2), ("b", 2, 2, 2.0, 0.3), ("b", 1, 2, 1.0, -0.4)]
    return pd.DataFrame(rows, columns=["name", "i", "j", "score", "value"])


def shared_table() -> pd.DataFrame:
    """Return the entries of three matrices."""
    rows = [("a", "Layer 0 · query", "query", 30), ("b", "Layer 0 · key", "key", 0), ("c", "Layer 1 · key", "key", 6)]
    return pd.DataFrame(rows, columns=["name", "label", "kind", "entries"]).assign(proportional=12)
