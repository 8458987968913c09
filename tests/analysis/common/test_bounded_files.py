"""Files of bounded size."""

import pytest

from analysis.common.bounded_files import read_json
from analysis.common.errors import AdapterError


def test_the_size_is_the_only_thing_said_of_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setenv("SVFT_MAX_HEADER_MB", "0.00001")
    file = tmp_path / "adapter_config.json"
    file.write_text('{"peft_type": "SVFT"}')
    with pytest.raises(AdapterError, match=r"^\S+adapter_config.json is larger than SVFT_MAX_HEADER_MB allows"):
        read_json(file)
