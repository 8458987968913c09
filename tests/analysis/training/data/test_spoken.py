"""The task with sounds: its recordings, what is heard of them, its splits by voice, and training on it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from peft import PeftModel
from transformers import WhisperForAudioClassification
from typer.testing import CliRunner

from analysis.adapters.opening import open_adapter
from analysis.cli import app
from analysis.cli.shipping import speak
from analysis.cli.train import train_to
from analysis.common.errors import TaskError, UserError
from analysis.conversion.to_merged import merged_steps
from analysis.models.loading import load_base, load_encoder
from analysis.models.packages import SOUND_BASE
from analysis.models.packed.unpacking import unpacked
from analysis.running.inference import predict_logits
from analysis.running.predictor import load_predictor
from analysis.training.data import spoken
from analysis.training.data.spoken import LABELS, Recording, heard, ordered, read_recordings
from analysis.training.on_base import task_for
from analysis.training.session import train
from analysis.training.specification import TrainingSpec
from analysis.training.tasks import get_task

DIRECTORY = Path(spoken.__file__).with_name("spoken_digits")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return ordered(read_recordings(DIRECTORY))


# ---- the recordings


def test_every_voice_says_every_digit_as_often(recordings):
    counts = Counter((recording.voice, recording.digit) for recording in recordings)
    assert set(counts) == {(voice, digit) for voice in speak.VOICES for digit in range(10)}
    assert set(counts.values()) == {spoken.TAKES}
    assert len({recording.codes.tobytes() for recording in recordings}) == len(recordings)


def test_the_files_are_small():
    sizes = [file.stat().st_size for file in DIRECTORY.glob("*.npz")]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 5_000_000


def test_mu_law_keeps_a_wave_to_a_hundredth_of_its_size():
    wave = np.linspace(-1, 1, 4001)
    again = spoken.from_mu_law(spoken.to_mu_law(wave))
    assert np.abs(again - wave) == pytest.approx(0, abs=0.022)  # half a step at the loudest
    loud = np.abs(wave) > 0.05
    assert np.abs(again[loud] / wave[loud] - 1).max() < 0.03
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(spoken.to_mu_law(spoken.from_mu_law(codes)), codes)


def test_recordings_are_written_and_read_again(tmp_path, recordings):
    spoken.write_recordings(tmp_path / "0.npz", recordings[:3])
    again = read_recordings(tmp_path)
    assert [(r.voice, r.digit) for r in again] == [(r.voice, r.digit) for r in recordings[:3]]
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(again, recordings))
    spoken.write_recordings(tmp_path / "1.npz", recordings[:3])
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()


# ---- what is heard


def test_without_noise_it_is_heard_as_it_was_spoken_or_with_its_spectrum_upside_down(recordings):
    recording = recordings[0]
    wave = spoken.from_mu_law(recording.codes)
    wave -= wave.mean()
    plain, inverted = (heard(recording, noise=0, inverted=inverted).astype(float) for inverted in (False, True))
    assert plain.shape == inverted.shape == (spoken.SAMPLES,)
    alike = np.correlate(plain[::2], wave).max()  # at every place of the stored rate
    assert alike / np.linalg.norm(plain[::2]) / np.linalg.norm(wave) > 0.999
    below, mirrored = (np.abs(np.fft.rfft(sound))[: spoken.SAMPLES // 4 + 1] for sound in (plain, inverted))
    assert np.corrcoef(below, mirrored[::-1])[0, 1] > 0.99
    above = np.abs(np.fft.rfft(inverted))[spoken.SAMPLES // 4 + 2 :]
    assert above.max() < 0.01 * mirrored.max()  # nothing above 4 kHz


def test_a_tone_of_1_khz_is_heard_at_3():
    tone = np.sin(2 * np.pi * 1000 / spoken.STORED_RATE * np.arange(4000)) * np.hanning(4000)
    sound = heard(Recording("tone", 0, spoken.to_mu_law(tone)), noise=0)
    assert np.abs(np.fft.rfft(sound)).argmax() * spoken.RATE / spoken.SAMPLES == pytest.approx(3000, abs=2)


def test_noise_is_as_loud_as_it_says_and_the_same_every_time(recordings):
    quiet, noisy = (heard(recordings[5], noise=noise).astype(float) for noise in (0, 2))
    assert np.array_equal(heard(recordings[5], noise=2), noisy)
    scale = (quiet @ noisy - noisy.sum() * quiet.mean()) / (quiet @ quiet - quiet.sum() * quiet.mean())
    noise = noisy - scale * quiet
    n = len(recordings[5].codes)
    of_voice = scale * np.sqrt(np.sum(quiet**2) / (2 * n))
    assert np.sqrt(np.mean(noise**2)) / of_voice == pytest.approx(2, rel=0.05)


# ---- the splits


def test_no_voice_is_in_two_splits(recordings):
    voice_of = {heard(recording).tobytes(): recording.voice for recording in recordings}
    splits = get_task("spoken_digits").load()
    voices = [
        {voice_of[sound.tobytes()] for sound in split.inputs}
        for split in (splits.test, splits.validation, splits.set_apart, splits.confirmation)
    ]
    assert [len(of) for of in voices] == [25, 10, 30, 10]
    assert sum(map(len, voices)) == len(set.union(*voices)) == len(speak.VOICES)


def test_the_order_depends_on_no_order_of_the_files(recordings):
    assert ordered(recordings[::-1]) == recordings


def test_each_split_has_as_many_of_every_digit():
    splits = get_task("spoken_digits").load()
    for split in (splits.train, splits.validation, splits.test, splits.confirmation):
        assert len(set(np.bincount(split.labels))) == 1


# ---- the command that made them


def test_without_espeak_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(speak.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="apt-get install espeak-ng"):
        speak.speak_digits(tmp_path)


def test_the_command_writes_what_every_voice_says(tmp_path, monkeypatch):
    wave = (np.sin(np.arange(5000) / 9) * 8000).astype("<i2")
    wave[:100] = wave[-900:] = 0

    def say(command, **options):
        rate = (22_050).to_bytes(4, "little")
        header = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0" + rate + b"\x44\xac\0\0\x02\0\x10\0data"
        content = header + (2 * len(wave)).to_bytes(4, "little") + wave.tobytes()
        return speak.subprocess.CompletedProcess(command, 0, content, b"")

    monkeypatch.setattr(speak, "VOICES", ("linda", "m1"))
    monkeypatch.setattr(speak.shutil, "which", lambda name: name)
    monkeypatch.setattr(speak.subprocess, "run", say)
    result = CliRunner().invoke(app, ["speak-digits", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "40 recordings" in result.output
    recordings = read_recordings(tmp_path)
    assert Counter(LABELS[recording.digit] for recording in recordings) == dict.fromkeys(LABELS, 4)
    assert len(recordings[0].codes) == pytest.approx(4000 / 22_050 * spoken.STORED_RATE, abs=5)  # silence is cut off


# ---- fine-tuning on it


def test_a_model_of_sounds_is_trained_for_them():
    assert task_for(Path(unpacked(SOUND_BASE))) == "spoken_digits"


def test_a_model_of_another_sampling_rate_is_not(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper", "vocab_size": 5}')
    (tmp_path / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(TaskError, match="16,000 samples a second, and this model reads 8000"):
        task_for(tmp_path)


def spec(method: str, **options) -> TrainingSpec:
    return TrainingSpec("spoken_digits", method, **{"steps": 1, "batch_size": 2, "examples": 4, **options})


@pytest.mark.parametrize("method", ["head_only", "top_k", "lora"])  # one of each sort: see test_session
def test_adapters_record_the_portable_id_and_load_again_with_equal_predictions(method, tmp_path, socket_disabled):
    run = train(spec(method))
    run.save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == SOUND_BASE
    sounds = get_task("spoken_digits").load().test.inputs[:2]
    loaded = PeftModel.from_pretrained(load_base(SOUND_BASE, LABELS), str(tmp_path)).eval()
    expected = predict_logits(run.model, run.encode, sounds)
    assert predict_logits(loaded, run.encode, sounds) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_an_adapter_of_sounds_opens_has_a_card_and_classifies_a_sound(tmp_path):
    measured = train_to(spec("banded"), tmp_path)
    assert measured.n_test == 500
    assert "pipeline_tag: audio-classification" in (tmp_path / "README.md").read_text(encoding="utf-8")
    adapter = open_adapter(tmp_path)
    assert len(adapter.names) == 24
    assert adapter.base == SOUND_BASE
    heads = {name.removeprefix("base_model.model.") for name in adapter.head}
    assert heads >= {"projector.weight", "classifier.weight"}
    predictor = load_predictor(tmp_path)
    table = predictor.predict(get_task("spoken_digits").load().test.inputs[0], alpha=0.5)
    assert table["label"].tolist() == list(LABELS)
    assert table["probability"].sum() == pytest.approx(1)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_other_methods_are_projected_into_the_basis(method, tmp_path):
    train(spec(method)).save(tmp_path)
    adapter = open_adapter(tmp_path, base=SOUND_BASE)
    assert len(adapter.names) == 24
    assert adapter.matrix(adapter.names[-1]).update_norm > 0


def test_a_merged_model_classifies_as_its_adapter(tmp_path):
    run = train(spec("plain"))
    run.save(tmp_path / "adapter")
    steps = list(merged_steps(tmp_path / "adapter", tmp_path / "merged"))
    assert len(steps) == 1 + 24
    merged = WhisperForAudioClassification.from_pretrained(tmp_path / "merged").eval()
    sounds = get_task("spoken_digits").load().test.inputs[:2]
    expected = predict_logits(run.model, run.encode, sounds)
    assert predict_logits(merged, load_encoder(str(tmp_path / "merged")), sounds) == pytest.approx(expected, abs=1e-4)


def test_the_head_is_trained_whole_and_counts_to_no_budget():
    run = train(spec("plain"))
    trained = {name for name, p in run.model.named_parameters() if p.requires_grad and "svft" not in name}
    assert {name.split(".modules_to_save")[0].rpartition(".")[2] for name in trained} == {"projector", "classifier"}
    assert run.budget == 24 * 384
