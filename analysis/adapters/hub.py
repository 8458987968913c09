"""Fetching an adapter, or the weights of a base model, from the Hugging Face Hub: known files only, sizes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.adapters.upload import is_known
from analysis.common.errors import AdapterError
from analysis.common.settings import is_public, max_upload


def fetch(repository: str, revision: str, directory: str) -> Iterator[Any]:
    """Yield the number of files of a repository that are of use, then the path of each once it is downloaded.

    Args:
        repository: "owner/name", or "owner/name/folder" for an adapter in a folder.
        revision: Branch, tag or commit; "" for the main branch.
        directory: Where the files go; "" for the Hub's cache, where a base model belongs.

    Raises:
        AdapterError: If it cannot be reached, has no such files, or they are larger than a public server allows.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    owner, _, rest = repository.strip().strip("/").partition("/")
    name, _, folder = rest.partition("/")
    try:
        info = HfApi().model_info(f"{owner}/{name}", revision=revision or None, files_metadata=True)
        files = {file.rfilename: file.size or 0 for file in info.siblings or () if _is_wanted(file.rfilename, folder)}
        if not any(file.endswith(".safetensors") for file in files):
            raise AdapterError(f"{repository} on the Hub has no safetensors files of an adapter or a model.")
        if is_public() and sum(files.values()) > max_upload():
            raise AdapterError(f"{repository} has {sum(files.values()) / 1e6:,.0f} MB, more than this server allows.")
        yield len(files)
        for file in files:
            yield hf_hub_download(f"{owner}/{name}", file, revision=info.sha, local_dir=directory or None)
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise AdapterError(
            f"{repository} could not be fetched from the Hub ({type(error).__name__}): check its name, the revision, "
            "and the network."
        ) from error


def _is_wanted(file: str, folder: str) -> bool:
    parent, _, name = file.rpartition("/")
    return parent == folder.strip("/") and is_known(name) and Path(name).suffix != ".md"
