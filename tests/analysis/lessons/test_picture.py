"""A photograph as a matrix."""

import numpy as np
import pytest

from analysis.figures.picture import grey_pixels, signed_pixels, spectrogram_pixels
from analysis.figures.theme import DARK, LIGHT
from analysis.lessons import picture


@pytest.fixture(scope="module", params=picture.PICTURES)
def photo(request):
    return picture.load_picture(request.param)


def test_all_pairs_together_are_the_photograph(photo):
    assert np.allclose(photo.leading(photo.n), photo.W)
    assert np.allclose(sum(photo.single(i) for i in range(5)), photo.leading(5))
    assert photo.W.min() >= 0
    assert photo.W.max() <= 1


def test_the_energy_that_is_kept_is_what_the_rest_lacks(photo):
    table = picture.kept_energy(photo.sigma)
    for r in (1, 7, photo.n):
        missing = np.linalg.norm(photo.W - photo.leading(r)) ** 2 / np.linalg.norm(photo.W) ** 2
        assert table["share"][r - 1] == pytest.approx(1 - missing, abs=1e-12)


def test_an_update_between_two_pairs_is_that_of_dense_algebra(photo):
    relative = np.array([[0.1, -0.4], [0.3, -1.0]])
    M = picture.between_two(photo.sigma, 1, 2, relative, 6)
    full = np.zeros((photo.n, photo.n))
    full[:6, :6] = M
    assert np.allclose(photo.update(M), photo.U @ full @ photo.V.T)
    assert np.count_nonzero(M) == 4
    assert M[2, 2] == pytest.approx(-photo.sigma[2])


def test_a_diagonal_only_re_weights_and_an_entry_beside_it_mixes(photo):
    plain = picture.mixing(photo.sigma, picture.between_two(photo.sigma, 1, 2, np.diag([0.2, -0.3]), 6))
    assert np.array_equal(plain.left, np.eye(6))
    assert not plain.turned.any()
    mixed = picture.mixing(photo.sigma, picture.between_two(photo.sigma, 1, 2, np.array([[0, 0.5], [0, 0]]), 6))
    assert mixed.turned[1] > 5
    assert mixed.turned[2] == pytest.approx(mixed.turned[1])
    assert mixed.turned[[0, 3, 4, 5]] == pytest.approx(0, abs=1e-5)


def test_the_new_values_are_those_of_the_new_photograph(photo):
    M = picture.between_two(photo.sigma, 1, 2, np.array([[0.2, 0.5], [-0.1, 0.4]]), 6)
    new = np.linalg.svd(photo.W + photo.update(M), compute_uv=False)
    expected = np.sort(np.concatenate([picture.mixing(photo.sigma, M).sigma, photo.sigma[6:]]))[::-1]
    assert np.allclose(new, expected)


def test_how_many_pairs_is_checked(photo):
    needed = int((picture.kept_energy(photo.sigma)["share"] < 0.99).sum()) + 1
    assert picture.check_pairs(needed, photo.sigma).right
    assert "more are needed" in picture.check_pairs(needed - 1, photo.sigma).sentence
    assert "fewer would do" in picture.check_pairs(needed + 1, photo.sigma).sentence
    assert "between 1 and" in picture.check_pairs(0, photo.sigma).sentence


@pytest.mark.parametrize(
    ("relative", "alpha", "right", "hint"),
    [
        ([[0, 0], [0, -1]], 1, True, "Right"),
        ([[0, 0], [0, -0.5]], 2, True, "Right"),
        ([[0, 0], [0, -0.5]], 1, False, "50%"),
        ([[0, 0.1], [0, -1]], 1, False, "off the diagonal"),
        ([[0.1, 0], [0, -1]], 1, False, "other one was changed"),
        ([[0, 0], [0, 1]], 1, False, "200%"),
    ],
)
def test_taking_a_pair_out_is_checked(relative, alpha, right, hint):
    reply = picture.check_removed(np.array(relative, float), alpha)
    assert reply.right == right
    assert hint in reply.sentence


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_pixels_are_grey_or_on_the_diverging_scale(theme):
    assert grey_pixels(np.array([[-1.0, 0, 0.5, 1, 2]])).tolist() == [[0, 0, 127, 255, 255]]
    pixels = signed_pixels(np.array([[0.0, 2, -2]]), theme=theme)
    assert "#" + bytes(pixels[0, 0]).hex() == theme.background
    assert len({tuple(pixel) for pixel in pixels[0].tolist()}) == 3
    assert signed_pixels(np.zeros((2, 2)), theme=theme).shape == (2, 2, 3)


def test_a_spectrogram_has_a_tone_at_its_height_and_its_time():
    sound = np.zeros(16_000)
    sound[8_000:] = 5000 * np.sin(2 * np.pi * 1000 * np.arange(8_000) / 16_000)  # 1 kHz in the second half
    pixels = spectrogram_pixels(sound.astype(np.int16))
    assert (pixels.shape, pixels.dtype) == ((64, 101), np.uint8)
    assert pixels[63 - 16, 75] == 255  # in steps of 62.5 Hz from the bottom
    assert pixels[:40, 75].max() < 100
    assert not pixels[:, :45].any()
    assert not spectrogram_pixels(np.zeros(16_000, np.int16)).any()
