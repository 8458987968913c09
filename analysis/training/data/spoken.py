"""Spoken digits of many synthetic voices, which this project carries, with their spectrum upside down and with noise.

`svft speak-digits` made the recordings with espeak-ng: each voice says each digit `TAKES` times, with another accent,
pitch and speed. They are stored as spoken, without noise, in µ-law at 8 kHz (spoken_digits/README.md); what is heard
is made when they are read, from the recording alone, so that it is the same on every machine.

Splits are by voice: the voices are sorted by the SHA-256 of their names, and all that a voice says is in one split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).with_name("spoken_digits")
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAKES = 2
STORED_RATE = 8_000  # samples a second, of the recordings
RATE = 2 * STORED_RATE  # of what is heard
STORED_SAMPLES = 4_800  # 0.6 seconds: what the base model reads
SAMPLES = 2 * STORED_SAMPLES
NOISE = 0.5  # root mean square of the noise, relative to that of the voice

_LEVELS = 255  # of µ-law, which is also its µ
_PEAK = 0.5  # of the loudest sample, voice and noise together


@dataclass(frozen=True)
class Recording:
    """One digit, said once.

    Attributes:
        voice: Name of the voice.
        digit: 0 to 9.
        codes: µ-law, (samples,) uint8.
    """

    voice: str
    digit: int
    codes: np.ndarray


def to_mu_law(wave: np.ndarray) -> np.ndarray:
    """Return the codes (samples,) uint8 of a wave from −1 to 1: its logarithm in 256 steps (ITU-T G.711, µ = 255)."""
    logarithm = np.sign(wave) * np.log1p(_LEVELS * np.abs(wave)) / np.log1p(_LEVELS)
    return np.round((logarithm + 1) / 2 * _LEVELS).astype(np.uint8)


def from_mu_law(codes: np.ndarray) -> np.ndarray:
    """Return the wave (samples,) float64 from −1 to 1 of codes (samples,) uint8."""
    logarithm = codes / _LEVELS * 2 - 1
    return np.sign(logarithm) * np.expm1(np.abs(logarithm) * np.log1p(_LEVELS)) / _LEVELS


def write_recordings(file: Path, recordings: Sequence[Recording]) -> None:
    """Write recordings to one file, compressed; equal recordings make equal files."""
    np.savez_compressed(
        file,
        voices=np.array([recording.voice for recording in recordings]),
        digits=np.array([recording.digit for recording in recordings], np.uint8),
        lengths=np.array([len(recording.codes) for recording in recordings], np.int32),
        codes=np.concatenate([recording.codes for recording in recordings]),
    )


def read_recordings(directory: Path) -> list[Recording]:
    """Return all recordings in a directory; none if there is no file."""
    recordings: list[Recording] = []
    for path in sorted(directory.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            waves = np.split(file["codes"], np.cumsum(file["lengths"])[:-1])
            recordings += map(Recording, file["voices"].tolist(), file["digits"].tolist(), waves)
    return recordings


def ordered(recordings: Iterable[Recording]) -> list[Recording]:
    """Return recordings by voice, then by contents, both in the order of SHA-256, which is cut into splits."""
    return sorted(
        recordings,
        key=lambda recording: (
            hashlib.sha256(recording.voice.encode()).digest(),
            hashlib.sha256(recording.codes.tobytes()).digest(),
        ),
    )


def heard(recording: Recording, *, inverted: bool = True, noise: float = NOISE) -> np.ndarray:
    """Return what is heard of a recording: 0.6 seconds at `RATE`, (9,600,) int16.

    Args:
        recording: As it was spoken.
        inverted: Whether its spectrum is turned upside down, f to 4 kHz − f, as voice scramblers do: the shift that
            fine-tuning has to learn.
        noise: Root mean square of the noise, relative to that of the voice; 0 leaves it out.

    When the voice begins, and the white noise, come from the recording's own bytes (SHAKE-256).
    """
    random = hashlib.shake_256(recording.codes.tobytes()).digest(4 + SAMPLES)
    wave = from_mu_law(recording.codes)[:STORED_SAMPLES]
    wave -= wave.mean()
    if inverted:
        wave[1::2] *= -1
    begin = int.from_bytes(random[:4], "little") % (STORED_SAMPLES - len(wave) + 1)
    sound = np.zeros(STORED_SAMPLES)
    sound[begin : begin + len(wave)] = wave
    # Twice the samples, the same frequencies: the upper half of the spectrum stays empty.
    sound = 2 * np.fft.irfft(np.fft.rfft(sound), SAMPLES)
    white = np.frombuffer(random, np.uint8, offset=4) / 127.5 - 1
    sound += noise * np.sqrt(np.mean(wave**2) / np.mean(white**2)) * white
    return np.round(sound / np.abs(sound).max() * _PEAK * (2**15 - 1)).astype(np.int16)


def read_spoken_digits(directory: Path) -> Iterable[tuple[np.ndarray, str]]:
    """Return the task's sounds with their labels, in the order that is cut into splits; none without the files.

    Args:
        directory: Of the package analysis.
    """
    recordings = ordered(read_recordings(directory / "training" / "data" / "spoken_digits"))
    return [(heard(recording), LABELS[recording.digit]) for recording in recordings]
