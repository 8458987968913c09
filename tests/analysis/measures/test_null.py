"""Of updates that learned nothing, at most one in twenty is called different from noise; one that did learn, is."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.common import disk_cache
from analysis.figures.concentration import concentration as concentration_figure
from analysis.figures.inside_share import inside_share
from analysis.figures.offset_profile import BARS, offset_profile
from analysis.figures.theme import LIGHT
from analysis.lessons import reading
from analysis.measures import null
from analysis.measures.coefficients import (
    concentration,
    energy_by_offset,
    energy_shares,
    entries_for_energy,
    inside_basis,
)
from analysis.measures.null import entry_null, is_kept, movement, spectral_null
from analysis.measures.ranks import ranks
from svft.cache import cache_directory
from tests.analysis.measures.untrained import OTHERS, SVFT, projected, untrained
from tests.analysis.synthetic import band, make_matrix

EACH = 60  # untrained updates of each kind
EACH_MOVEMENT = 15  # whose null costs decompositions


def sentences(matrix) -> dict[str, bool]:
    """Return of each sentence about M whether it calls the update different from noise."""
    fraction, noise = entries_for_energy(matrix)["fraction"], entry_null(matrix)
    style = {"pattern": matrix.pattern, "theme": LIGHT}
    caption = concentration_figure(concentration(matrix), noise, fraction=fraction, **style).layout.meta["caption"]
    profile = offset_profile(energy_by_offset(matrix, most=BARS), **style).layout.meta["caption"]
    actual = {
        "concentration": ", as in noise" not in caption,
        "concentration, Learn": reading.concentration_outcome(fraction, noise.fraction) != reading.AS_NOISE,
        "offsets": "No bar stands out" not in profile,
        "diagonal": "that is not chance" in reading.on_the_diagonal(energy_shares(matrix)),
    }
    if matrix.projected and matrix.shape[0] != matrix.shape[1]:
        actual["inside"] = (
            ", as it would" not in inside_share(inside_basis(matrix), theme=LIGHT).layout.meta["caption"]
        )
    return actual


def numbers(matrix) -> dict[str, bool]:
    """Return of each number beside noise, of ranks and of what happened to W, whether it lies outside."""
    values = movement(matrix) | ranks(matrix).set_index("of").loc["ΔW", ["stable_rank", "effective_rank"]].to_dict()
    levels = spectral_null(matrix).levels
    return {name: not level.holds(values[name]) for name, level in levels.items()}


@pytest.fixture(scope="module", params=SVFT + OTHERS)
def called(request):
    """Whether each sentence, and each number beside noise, calls untrained updates of a kind different."""
    updates = [untrained(request.param, seed) for seed in range(EACH)]
    return request.param, [*map(sentences, updates), *map(numbers, updates[:EACH_MOVEMENT])]


def test_untrained_updates_are_called_different_at_most_one_time_in_twenty(called):
    kind, actual = called
    counts = {name: [item[name] for item in actual if name in item] for name in set().union(*actual)}
    everything = np.concatenate(list(counts.values()))
    # Sentences about one update depend on each other: as if every update gave two independent ones.
    slack = 2 * np.sqrt(0.05 * 0.95 / (2 * len(actual)))
    assert everything.mean() <= 0.05 + slack, {name: np.mean(of) for name, of in counts.items()}
    for name, of in counts.items():
        assert np.mean(of) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(of)), (kind, name)


def test_a_null_says_nothing_of_what_it_keeps(called):
    kind, actual = called
    kept = {"stable_rank", "effective_rank"} if kind in OTHERS else set()
    kept |= {"turned", "intruders"} if kind == "plain" else set()
    every = {"stable_rank", "effective_rank", "turned", "intruders", "moved", "largest_change"}
    assert actual[-1].keys() == every - kept


def test_a_concentrated_update_is_called_different():
    rows, cols = band(40, 2)
    values = np.random.default_rng(0).standard_normal(len(rows)) * np.where(rows == cols, 3.0, 0.5)
    svft = make_matrix(rows, cols, 0.1 * values, m=40, pattern="banded")
    few = np.zeros((24, 24))
    few[3, :4] = few[7, :4] = [3.0, -2.0, 2.5, 2.0]  # rank one, on a few of its directions
    for matrix in (svft, projected(few, 1)):
        actual = sentences(matrix)
        assert actual["concentration"]
        assert actual["offsets"]
    assert sentences(svft)["diagonal"]
    spiked = replace(svft, values=np.where(np.arange(svft.k) == 7, 5.0, svft.values))
    assert {"stable_rank", "largest_change"} <= {name for name, outside in numbers(spiked).items() if outside}


def test_low_rank_alone_is_not_called_concentrated():
    loras = [untrained("LoRA r=4", seed) for seed in range(20)]
    fractions = [entries_for_energy(lora)["fraction"] for lora in loras]
    assert fractions[0] < entry_null(untrained("full", 0)).fraction.low  # beside independent entries it would be
    inside = sum(entry_null(lora).fraction.holds(fraction) for lora, fraction in zip(loras, fractions, strict=True))
    assert inside >= 16  # of 20 at 95% each, fewer would be 3 in 1,000


def test_draws_are_kept_on_disk_under_the_limit_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path))
    assert disk_cache.directory() == cache_directory() == tmp_path
    for matrix in (untrained("banded", 0), untrained("LoRA r=4", 1)):
        assert not is_kept(matrix)
        first = entry_null(matrix), spectral_null(matrix)
        assert is_kept(matrix)
        monkeypatch.setattr(null, "random_update", None)  # nothing is drawn again
        again = entry_null(matrix), spectral_null(matrix)
        monkeypatch.undo()
        monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path))
        assert first[0].fraction == again[0].fraction
        assert first[1].levels == again[1].levels
    for file in tmp_path.iterdir():
        assert file.suffix == ".safetensors"
        file.write_bytes(b"damaged")
    assert not is_kept(matrix)
    assert entry_null(matrix).fraction == first[0].fraction


def test_where_nothing_can_be_written_it_is_drawn_each_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SVFT_CACHE_DIR", str(tmp_path / "file"))
    matrix = untrained("banded", 0)
    assert spectral_null(matrix).levels == spectral_null(matrix).levels


def test_random_patterns_share_their_null_and_others_have_their_own():
    a, b = untrained("random", 0), untrained("random", 3)
    assert (a.rows != b.rows).any()
    assert spectral_null(a).levels["stable_rank"] == spectral_null(b).levels["stable_rank"]
    own = replace(a, pattern="top_k"), replace(b, pattern="top_k")
    ranks_of_own = [spectral_null(matrix).levels["stable_rank"] for matrix in own]
    assert ranks_of_own[0] != ranks_of_own[1]


def test_a_zero_update_and_a_truncated_basis_have_what_can_be_known():
    zero = make_matrix([0, 1], [1, 1], [0.0, 0.0])
    assert "turned" not in spectral_null(zero).levels
    truncated = make_matrix([0, 1], [0, 1], [-4.9, 0.2], m=2, shape=(7, 5), sigma=[5, 3])
    assert "moved" not in spectral_null(truncated).levels
