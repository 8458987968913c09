"""The shipped SVFT adapter leaves as a LoRA, and comes back as one: converted, downloaded and opened in the app."""

import json
import zipfile

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

PATIENCE = 300_000  # milliseconds: a base model is loaded on the way


def test_a_shipped_adapter_is_exported_as_lora_and_opened_again(server, visitor, tmp_path):
    one = visitor().open(f"{server}/explore")
    page = one.page
    page.locator(".st-key-convert-open button").first.click()
    page.locator(".st-key-convert-start button").click()
    page.wait_for_selector(".st-key-convert-download button", timeout=PATIENCE)
    assert "of the energy of the update is lost" in page.get_by_role("dialog").inner_text()
    with page.expect_download() as download:
        page.locator(".st-key-convert-download button").click()
    download.value.save_as(tmp_path / "lora.zip")
    with zipfile.ZipFile(tmp_path / "lora.zip") as archive:
        assert {"adapter_config.json", "adapter_model.safetensors"} <= set(archive.namelist())
        config = json.loads(archive.read("adapter_config.json"))
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 32, 32)
    page.locator(".st-key-convert-explore button").click()
    page.wait_for_selector(".st-key-convert-start", state="detached", timeout=PATIENCE)
    page.wait_for_function("document.querySelector('.stMain').innerText.includes('LoRA r=32')", timeout=PATIENCE)
    one.settle()
    assert "lora-32" in one.selection()[0]
    assert not one.complaints
