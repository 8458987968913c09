"""Fetching from the Hub, against a stand-in of its file layout: no network."""

from __future__ import annotations

from types import SimpleNamespace

import huggingface_hub
import pytest

from analysis.adapters.hub import fetch
from analysis.common.errors import AdapterError

FILES = {
    "README.md": 10,
    "adapter_config.json": 600,
    "adapter_model.safetensors": 5000,
    "adapter_model.bin": 5000,
    "training_args.bin": 10,
    "checkpoint-10/adapter_config.json": 600,
    "checkpoint-10/adapter_model.safetensors": 4000,
    "../adapter_config.json": 10,
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub with one repository, at one commit."""
    fetched = []

    def model_info(self, repository, revision=None, files_metadata=False):
        if repository != "someone/adapter":
            raise huggingface_hub.errors.HFValidationError("no such repository")
        siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in FILES.items()]
        return SimpleNamespace(siblings=siblings, sha={"v1": "c1", None: "c0"}[revision])

    def download(repository, file, revision=None, local_dir=None):
        fetched.append((repository, file, revision, local_dir))
        return f"{local_dir or tmp_path}/{file}"

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return fetched


def test_known_files_of_one_folder_are_fetched_at_one_commit(hub):
    total, *paths = fetch("someone/adapter", "v1", "/session")
    assert total == len(paths) == 2
    assert [item[1:] for item in hub] == [
        ("adapter_config.json", "c1", "/session"),
        ("adapter_model.safetensors", "c1", "/session"),
    ]
    _, first, _ = fetch("someone/adapter/checkpoint-10", "", "/session")
    assert first == "/session/checkpoint-10/adapter_config.json"
    assert hub[-1][2] == "c0"


def test_a_public_server_asks_for_the_sizes_first(hub, monkeypatch):
    monkeypatch.setenv("SVFT_PUBLIC", "1")
    monkeypatch.setenv("SVFT_MAX_UPLOAD_MB", "0.001")
    with pytest.raises(AdapterError, match="more than this server allows"):
        list(fetch("someone/adapter", "", "/session"))
    assert not hub


@pytest.mark.parametrize(
    ("repository", "sentence"), [("someone/else", "could not be fetched"), ("someone/adapter/docs", "no safetensors")]
)
def test_what_is_not_there_gets_a_sentence(hub, repository, sentence):
    with pytest.raises(AdapterError, match=sentence):
        list(fetch(repository, "", ""))
