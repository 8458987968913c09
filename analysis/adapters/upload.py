"""Taking in what a visitor uploads: a zip of an adapter's directory, or its files. Nothing but known files is kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError
from analysis.common.settings import max_upload

# What an adapter or a checkpoint consists of; anything else in an upload is left out.
_KNOWN = re.compile(
    r"(adapter_config\.json|adapter_model\.safetensors|config\.json|model(-\d{5}-of-\d{5})?\.safetensors"
    r"|model\.safetensors\.index\.json|projection\.json|projection\.safetensors|evaluation\.json|README\.md)"
)
_CONFIGS = ("adapter_config.json", "projection.json", "config.json")
_MEMBERS = 1000
_CHUNK = 1 << 20


def is_known(name: str) -> bool:
    """Whether a file of this name belongs to an adapter or a checkpoint."""
    return _KNOWN.fullmatch(name) is not None


def unpack(archive: BinaryIO, directory: Path) -> Path:
    """Write the adapter in a zip into a directory, which it does not leave, and not more than the settings allow.

    Args:
        archive: The zip, of an adapter's directory or of the files in it.
        directory: It must be empty.

    Returns:
        `directory`.

    Raises:
        AdapterError: If it is not a zip, holds no adapter, tries to write elsewhere, or is too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check(members)
            folder = _folder_of_adapter(members)
            room = max_upload()
            for member in members:
                path = PurePosixPath(member.filename)
                if path.parent == folder and is_known(path.name) and not member.is_dir():
                    with opened.open(member) as source:
                        room -= _copy(source, directory / path.name, room)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise AdapterError(f"The upload is not a readable zip ({error}); pack the directory again.") from error
    except AdapterError:
        raise
    except (ValueError, zlib.error) as error:
        raise AdapterError(f"The zip is damaged ({error}); pack the directory again.") from error
    return directory


def keep(files: Iterable[tuple[str, BinaryIO]], directory: Path) -> Path:
    """Write the uploaded files of an adapter into a directory.

    Args:
        files: Name and content of each. A lone safetensors file of another name is taken for the adapter's.
        directory: It must be empty.

    Returns:
        `directory`.

    Raises:
        AdapterError: If one of the files is of no use, or they are too large.
    """
    room = max_upload()
    for name, content in files:
        if not is_known(name):
            raise AdapterError(
                f"{name!r} is not an adapter file: upload adapter_config.json and adapter_model.safetensors, "
                "or a zip of the directory."
            )
        room -= _copy(content, directory / name, room)
    return directory


def with_base(path: Path, base: str, directory: Path) -> Path:
    """Make `directory` the same adapter as `path` on a base model that a person chose; weights are linked, not copied.

    Raises:
        AdapterError: If its config cannot be read.
    """
    directory.mkdir(parents=True)
    for file in path.iterdir():
        if not is_known(file.name) or not file.is_file():
            continue
        if file.name in ("adapter_config.json", "config.json", "projection.json"):
            field = {"adapter_config.json": "base_model_name_or_path", "config.json": "_name_or_path"}
            config = read_json(file) | {field.get(file.name, "base"): base, "revision": None}
            (directory / file.name).write_text(json.dumps(config), encoding="utf-8")
        else:
            os.symlink(file.resolve(), directory / file.name)
    return directory


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MEMBERS:
        raise AdapterError(f"The zip has {len(members):,} members; an adapter has a few files.")
    for member in members:
        name, path = member.filename, PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in member.orig_filename:
            raise AdapterError(f"The zip has a member {name[:80]!r} that points outside it; pack the directory again.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise AdapterError(f"The zip has a link, {name[:80]!r}; pack the files themselves.")
        if member.flag_bits & 1:
            raise AdapterError("The zip is encrypted; pack it without a password.")
    if sum(member.file_size for member in members) > max_upload():
        raise AdapterError("The zip unpacks to more than SVFT_MAX_UPLOAD_MB allows.")


def _folder_of_adapter(members: list[zipfile.ZipInfo]) -> PurePosixPath:
    paths = [PurePosixPath(member.filename) for member in members]
    for config in _CONFIGS:
        folders = sorted({path.parent for path in paths if path.name == config}, key=lambda path: len(path.parts))
        if folders:
            return folders[0]
    raise AdapterError(
        "The zip has no adapter_config.json, and no config.json of a model: pack an adapter's directory."
    )


def _copy(source: IO[bytes], target: Path, room: int) -> int:
    """Copy at most `room` bytes, whatever a header claims; return how many."""
    written = 0
    with target.open("xb") as stream:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > room:
                raise AdapterError("The upload is larger than SVFT_MAX_UPLOAD_MB allows.")
            stream.write(chunk)
    return written


def forget(directory: Path) -> None:
    """Delete a directory of uploads."""
    shutil.rmtree(directory, ignore_errors=True)
