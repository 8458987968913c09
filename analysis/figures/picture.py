"""Photographs and sounds as pixels: grey ones, and signed ones on the diverging scale."""

from __future__ import annotations

import numpy as np

from analysis.figures.theme import Theme, diverging_scale


def grey_pixels(values: np.ndarray) -> np.ndarray:
    """Return grey pixels (height, width) uint8 of values from 0 (black) to 1 (white); what lies beyond is clipped."""
    return (255 * np.clip(values, 0, 1)).astype(np.uint8)


def spectrogram_pixels(sound: np.ndarray) -> np.ndarray:
    """Return the spectrogram of a sound (samples,) as grey pixels (frequencies, times) uint8: low at the bottom.

    One column each 10 ms of 16,000 samples a second; frequencies up to 4 kHz in steps of 62.5 Hz; white is the
    loudest, black 50 dB softer.
    """
    from scipy.signal import ShortTimeFFT  # half a second: not before there is a sound

    transform = ShortTimeFFT.from_window("hann", 16_000, nperseg=256, noverlap=96)
    power = transform.spectrogram(sound.astype(float), p0=0, p1=len(sound) // 160 + 1)[:64]
    decibels = 10 * np.log10(np.maximum(power, 1e-12) / max(power.max(), 1))
    return grey_pixels(1 + decibels[::-1] / 50)


def signed_pixels(values: np.ndarray, *, theme: Theme) -> np.ndarray:
    """Return pixels (height, width, 3) uint8 of signed values; the ends of the scale are ± the largest magnitude."""
    limit = float(np.abs(values).max()) or 1.0
    scale = diverging_scale(theme)
    stops = np.array([step for step, _ in scale])
    colors = np.array([[int(color[k : k + 2], 16) for k in (1, 3, 5)] for _, color in scale], dtype=float)
    place = (values / limit + 1) / 2
    return np.stack([np.interp(place, stops, channel) for channel in colors.T], axis=-1).round().astype(np.uint8)
