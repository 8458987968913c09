"""The family: PEFT's own methods keep to the regions and counts that we claim, and the formulas make what they say."""

import numpy as np
import pytest
import torch
from peft import AdamssConfig, FrodConfig, LoraConfig, OSFConfig, PsoftConfig, TinyLoraConfig, get_peft_model
from torch import nn

import svft
from analysis.lessons.family import updates
from analysis.lessons.family.drawing import TINYLORA_U, Setting
from analysis.lessons.family.members import MEMBERS, family_table, trained
from analysis.lessons.family.regions import OFF_DIAG, REGIONS, coefficients_of, outside_share
from analysis.models.packages import DEFAULT_BASE
from analysis.models.shapes import block_shapes
from analysis.planning.sizing import count_parameters
from analysis.training.relatives import ADAMSS_CLUSTERS

R = 3
SHAPES = ((10, 10), (16, 10), (10, 16))  # square, tall, wide
OF_SHAPES = pytest.mark.parametrize("shape", SHAPES)

# Methods that PEFT has -> their configuration at r = R.
IN_PEFT = {
    "tinylora": lambda **where: TinyLoraConfig(r=R, u=TINYLORA_U, weight_tying=1.0, **where),
    "psoft": lambda **where: PsoftConfig(r=R, psoft_alpha=R, **where),
    "osf": lambda **where: OSFConfig(effective_rank=R, **where),
    "adamss": lambda **where: AdamssConfig(r=R, num_subspaces=ADAMSS_CLUSTERS, subspace_rank=1, **where),
    "mica": lambda **where: LoraConfig(r=R, init_lora_weights="mica", **where),
    "frod": lambda **where: FrodConfig(progressbar=False, **where),
    "lora": lambda **where: LoraConfig(r=R, **where),
    "pissa": lambda **where: LoraConfig(r=R, init_lora_weights="pissa", **where),
    "olora": lambda **where: LoraConfig(r=R, init_lora_weights="olora", **where),
    "plain": lambda **where: svft.SvftConfig(pattern="plain", **where),
    "banded": lambda **where: svft.SvftConfig(pattern="banded", off_diag=OFF_DIAG, **where),
    "block": lambda **where: svft.SvftConfig(pattern="block", rank=R, **where),
    "svfit": lambda **where: svft.SvftConfig(pattern="plain", rank=R, **where),
}
DRAWN = [name for name in IN_PEFT if name != "osf"]  # any value of its parameters keeps to the region


class Net(nn.Module):
    """Two linear layers of one kind and shape without biases: FRoD's basis is one that they share.

    Their singular values fall from 1, evenly or, if `fall` is given, by that factor.
    """

    def __init__(self, shape, fall=None):
        super().__init__()
        generator, n = torch.Generator().manual_seed(0), min(shape)
        sigma = torch.linspace(1, 0.2, n) if fall is None else fall ** torch.arange(n)
        self.layers = nn.ModuleList()
        for _ in range(2):
            U, _, Vh = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
            dense = nn.Linear(shape[1], shape[0], bias=False)
            dense.weight.data = (U * sigma) @ Vh
            self.layers.append(nn.ModuleDict({"dense": dense}))

    @property
    def first(self):
        return self.layers[0]["dense"]

    def forward(self, x):
        return sum(layer["dense"](x) for layer in self.layers)


def adapt(net, name):
    return get_peft_model(net, IN_PEFT[name](target_modules=["dense"]))


def draw_parameters(model):
    """Move every trained number away from its start."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def numbers(tensor):
    return tensor.detach().double().numpy()


def coefficients(pristine, adapted):
    """Return the coefficients of merged minus pristine, of the first layer."""
    W = numbers(pristine.first.weight)
    return coefficients_of(numbers(adapted.merge_and_unload().first.weight) - W, W)


def adapted_coefficients(name, *net):
    adapted = adapt(Net(*net), name)
    draw_parameters(adapted)
    return coefficients(Net(*net), adapted)


def mask_of(name, shape):
    return REGIONS[MEMBERS[name].region].mask(*shape, R)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "adamss"])
@OF_SHAPES
def test_what_peft_builds_keeps_to_the_region_and_reaches_all_of_it(name, shape):
    actual, mask = adapted_coefficients(name, shape), mask_of(name, shape)
    assert outside_share(actual, mask) < 1e-9
    assert (np.abs(actual[mask]) > 1e-5 * np.abs(actual).max()).all()
    singular = np.linalg.svd(actual, compute_uv=False)
    assert (singular > 1e-5 * singular[0]).sum() <= MEMBERS[name].rank(*shape, R)


def test_adamss_keeps_to_its_region_as_far_as_its_randomised_svd_finds_it():
    def outside(fall):
        return outside_share(adapted_coefficients("adamss", (12, 10), fall), mask_of("adamss", (12, 10)))

    assert outside(0.2) < 1e-6  # singular values that fall fast are found well
    assert outside(0.95) > 1e-3  # others are not


def test_frod_of_one_wide_weight_is_a_diagonal_and_a_few_entries_in_that_weight_s_own_basis():
    net = Net((10, 16))
    del net.layers[1]
    pristine = numbers(net.first.weight)
    adapted = adapt(net, "frod")
    draw_parameters(adapted)
    actual = coefficients_of(numbers(adapted.merge_and_unload().first.weight) - pristine, pristine)[:, :10]  # M
    assert (np.abs(actual) > 1e-5 * np.abs(actual).max()).sum() <= 10 + int(0.01 * 16**2)


def train(shape, name, optimizer):
    """Train on random numbers, and return the coefficients."""
    adapted, generator = adapt(Net(shape), name), torch.Generator().manual_seed(2)
    steps = optimizer([parameter for parameter in adapted.parameters() if parameter.requires_grad])
    x, y = torch.randn(64, shape[1], generator=generator), torch.randn(64, shape[0], generator=generator)
    for _ in range(5):
        steps.zero_grad()
        ((adapted(x) - y) ** 2).mean().backward()
        steps.step()
    return coefficients(Net(shape), adapted)


@OF_SHAPES
def test_osf_keeps_to_its_region_under_sgd_and_not_under_adam(shape):
    mask = mask_of("osf", shape)
    assert outside_share(train(shape, "osf", lambda own: torch.optim.SGD(own, lr=0.1)), mask) < 1e-9
    assert outside_share(train(shape, "osf", lambda own: torch.optim.Adam(own, lr=0.01)), mask) > 1e-3


@pytest.mark.parametrize("name", IN_PEFT)
@OF_SHAPES
def test_counts_are_those_that_peft_trains(name, shape):
    adapted = adapt(Net(shape), name)
    shapes = {f"layers.{layer}.dense": shape for layer in range(2)}
    assert sum(own.numel() for own in adapted.parameters() if own.requires_grad) == trained(MEMBERS[name], shapes, R)


@pytest.mark.parametrize("name", MEMBERS)
@OF_SHAPES
def test_a_drawn_update_keeps_to_the_region_and_to_the_rank_and_turns_vectors_or_not(name, shape):
    member, mask = MEMBERS[name], mask_of(name, shape)
    drawn = member.draw(Setting(*shape, R, seed=1))
    assert outside_share(drawn, mask) < 1e-24
    values = np.linalg.svd(drawn, compute_uv=False)
    assert 0 < (values > 1e-10 * values[0]).sum() <= member.rank(*shape, R)
    on = np.eye(*shape, dtype=bool)  # there alone, W' keeps the singular vectors of W
    assert bool(drawn[~on].any()) == member.turns


def pieces(name, shape):
    """Return PEFT's layer of a method, the singular values of its weight, and the coefficients."""
    adapted = adapt(Net(shape), name)
    draw_parameters(adapted)
    sigma = np.linalg.svd(numbers(Net(shape).first.weight), compute_uv=False)
    return adapted.base_model.model.first, sigma, coefficients(Net(shape), adapted)


def close(actual, M, shape):
    """Assert equality up to the signs of singular vectors, which an SVD is free to choose."""
    np.testing.assert_allclose(np.abs(actual), np.abs(updates.padded(M, *shape)), atol=1e-5)


@OF_SHAPES
def test_tinylora_s_and_psoft_s_formulas_are_peft_s(shape):
    layer, sigma, actual = pieces("tinylora", shape)
    (v,) = (own for own in layer.tinylora_v["default"].values())
    close(actual, updates.tinylora(sigma, numbers(v), numbers(layer.tinylora_P["default"])), shape)
    layer, sigma, actual = pieces("psoft", shape)
    R_layer = layer.psoft_R["default"]
    own = (numbers(part) for part in (R_layer.weight, R_layer.vector_b, R_layer.vector_a))
    close(actual, updates.psoft(sigma, *own), shape)


def test_svf_and_svft_plain_reach_the_same_weights_and_svdiff_only_those_without_a_change_of_sign():
    sigma, generator = np.linspace(1, 0.2, 6), np.random.default_rng(0)
    U, V = (np.linalg.qr(generator.standard_normal((rows, 6)))[0] for rows in (9, 6))
    M = np.diag(generator.standard_normal(6))
    z = 1 + np.diag(M) / sigma
    np.testing.assert_allclose(U @ (np.diag(sigma) + updates.svf(sigma, z)) @ V.T, (U * (sigma * z)) @ V.T)
    np.testing.assert_allclose(updates.svf(sigma, z), M)
    delta = generator.standard_normal(6)
    new = np.diag(sigma + np.diag(updates.svdiff(sigma, delta)))
    np.testing.assert_allclose(np.diag(new), np.maximum(sigma + delta, 0))
    assert (sigma + delta < 0).any()


def test_lora_xs_and_svft_block_reach_the_same_updates():
    sigma, generator = np.linspace(1, 0.2, 6), np.random.default_rng(0)
    U, V = (np.linalg.qr(generator.standard_normal((rows, 6)))[0] for rows in (9, 6))
    M = generator.standard_normal((R, R))
    xs = U[:, :R] @ (M / sigma[:R]) @ np.diag(sigma[:R]) @ V[:, :R].T  # its authors' code
    np.testing.assert_allclose(U[:, :R] @ updates.lora_xs(sigma, M / sigma[:R]) @ V[:, :R].T, xs)
    np.testing.assert_allclose(updates.lora_xs(sigma, M / sigma[:R]), M)


def rotation_pieces():
    generator = np.random.default_rng(0)
    return np.linspace(1, 0.2, 6), generator.standard_normal((R, R)), generator.standard_normal((R, R))


def test_spectral_rotations_turn_vectors_and_keep_values_but_for_their_scales():
    sigma, A, B = rotation_pieces()
    for M in (
        updates.spectral_rotation(sigma, A, B, np.ones(R)),
        updates.ssvd(sigma, np.zeros(R), A[np.triu_indices(R, 1)]),
        updates.psoft(sigma, A[np.triu_indices(R, 1)], np.ones(R), np.ones(R)),
    ):
        new = np.diag(sigma[:R]) + M
        np.testing.assert_allclose(np.linalg.svd(new, compute_uv=False), sigma[:R], atol=1e-12)
        assert np.abs(new - np.diag(np.diag(new))).max() > 0.01
    # SSVD keeps left vectors: the new weight times its transpose stays diagonal.
    new = np.diag(sigma[:R]) + updates.ssvd(sigma, np.full(R, 0.1), A[np.triu_indices(R, 1)])
    np.testing.assert_allclose(new @ new.T, np.diag((sigma[:R] + 0.1) ** 2), atol=1e-12)


def freedom(make, size):
    """Return in how many dimensions M moves, near the start, as `size` parameters do: the rank of the Jacobian."""
    step = 1e-5
    moves = [(make(step * unit) - make(-step * unit)).ravel() / (2 * step) for unit in np.eye(size)]
    return int(np.linalg.matrix_rank(np.array(moves), tol=1e-6))


def test_how_free_the_square_is():
    sigma = np.linspace(1, 0.2, 6)

    def spectral(p):
        left, right = p[: R * R].reshape(R, R), p[R * R : 2 * R * R].reshape(R, R)
        return updates.spectral_rotation(sigma, left, right, 1 + p[2 * R * R :])

    half = R * (R - 1) // 2
    assert freedom(spectral, 2 * R * R + R) == R * R  # all of the square, as its sentence says
    assert freedom(lambda p: updates.psoft(sigma, p[:half], 1 + p[half:-R], 1 + p[-R:]), half + 2 * R) < R * R
    assert freedom(lambda p: updates.ssvd(sigma, p[half:], p[:half]), half + R) == half + R


def test_counts_agree_with_the_planner_and_shared_numbers_count_once():
    shapes = block_shapes(DEFAULT_BASE)
    for name, size in {"plain": None, "banded": OFF_DIAG, "block": 64, "psoft": 64, "lora": 64}.items():
        assert trained(MEMBERS[name], shapes, 64) == count_parameters(name, list(shapes.values()), size)
    assert trained(MEMBERS["tinylora"], shapes, 64) == TINYLORA_U
    assert trained(MEMBERS["pica"], shapes, 64) == 64 * (4 * 384 + 1536 + 384)  # once for each of six kinds
    table = family_table(shapes, 64)
    assert table["count"].is_monotonic_increasing
    assert set(table["member"]) == set(MEMBERS)


def test_every_region_has_a_member_and_a_square_weight_leaves_nothing_outside_its_basis():
    assert {member.region for member in MEMBERS.values()} == set(REGIONS)
    sizes = {name: int(region.mask(10, 10, R).sum()) for name, region in REGIONS.items()}
    assert sizes["everything"] == sizes["left space"] == 100
    assert sizes["leading square"] == 9 < sizes["leading columns"] == sizes["trailing rows"] == 30
    assert sizes["scattered"] == sizes["band"]
