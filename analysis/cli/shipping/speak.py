"""Body of `svft speak-digits`: the recordings of the task with sounds, made with espeak-ng."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
from rich.progress import track

from analysis.common.errors import UserError
from analysis.training.data.spoken import (
    LABELS,
    STORED_RATE,
    STORED_SAMPLES,
    TAKES,
    Recording,
    to_mu_law,
    write_recordings,
)

# Variants of espeak-ng's voice, without those that differ from another one in a setting or two (Hugo, klatt2, steph3).
VOICES = (
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "AnxiousAndy", "Demonic", "Denis", "Diogo", "Gene", "Henrique",
    "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Storm", "UniRobot", "adam", "anika",
    "announcer", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "croak", "david", "ed", "edward",
    "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "gustave", "iven", "john", "kaukovalta", "klatt", "linda",
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo", "max", "miguel", "norbert", "pablo", "paul", "pedro",
    "quincy", "rob", "robert", "robosoft", "robosoft7", "sandro", "shelby", "steph", "steph2", "travis", "victor",
    "whisper", "whisperf", "zac",
)  # fmt: skip
# Without en-gb, which sounds alike with every variant, and en-us-nyc, which sounds like en-us.
ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029")
SPEEDS = range(180, 261)  # words a minute
PITCHES = range(25, 76)  # of 0 to 99
LARGEST_FILE = 900_000  # bytes of µ-law: compressed less
_SILENT = 0.02  # of the peak: what is softer at both ends is cut off


def speak_digits(output: Path) -> int:
    """Let every voice say every digit, and write the recordings to files of less than 1 MB in `output`.

    Accent, pitch and speed of a recording follow from the SHA-256 of its voice, digit and take.

    Returns:
        The number of recordings.

    Raises:
        UserError: If espeak-ng is not installed or has no such voice.
    """
    if shutil.which("espeak-ng") is None:
        raise UserError("espeak-ng, which speaks the digits, is not installed (apt-get install espeak-ng).")
    recordings = [
        _record(voice, digit, take)
        for voice in track(VOICES, "Speaking")
        for digit in range(len(LABELS))
        for take in range(TAKES)
    ]
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.npz"):
        old.unlink()
    places = np.cumsum([len(recording.codes) for recording in recordings]) // LARGEST_FILE
    for place in range(int(places[-1]) + 1):
        inside = [recording for recording, of in zip(recordings, places) if of == place]
        write_recordings(output / f"{place}.npz", inside)
    return len(recordings)


def _record(voice: str, digit: int, take: int) -> Recording:
    chosen = hashlib.sha256(f"{voice} {digit} {take}".encode()).digest()
    accent, speed, pitch = (options[byte % len(options)] for options, byte in zip((ACCENTS, SPEEDS, PITCHES), chosen))
    command = ["espeak-ng", "-v", f"{accent}+{voice}", "-s", str(speed), "-p", str(pitch), "--stdout", LABELS[digit]]
    spoken = subprocess.run(command, capture_output=True, check=False)
    if spoken.returncode or not spoken.stdout:
        raise UserError(f"espeak-ng could not speak as {voice}: {spoken.stderr.decode(errors='replace').strip()}")
    return Recording(voice, digit, to_mu_law(_stored(spoken.stdout)))


def _stored(wav: bytes) -> np.ndarray:
    """Return a WAV file's wave at the stored rate, without silence around it, its peak at 1."""
    from scipy.signal import resample_poly

    with wave.open(io.BytesIO(wav)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    sound = resample_poly(samples / 2**15, STORED_RATE, rate)
    loud = np.flatnonzero(np.abs(sound) > _SILENT * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1][:STORED_SAMPLES]
    return sound / np.abs(sound).max()
