"""A visitor brings a LoRA, sees it beside a shipped adapter, plays the cards, and takes the adapter away as LoRA."""

import json
import zipfile

import pytest
import torch
from peft import LoraConfig, get_peft_model

from analysis.adapters.opening import open_adapter
from analysis.adapters.shipped import shipped_adapters
from analysis.measures.edits import cards
from analysis.models.loading import DEFAULT_BASE, load_base

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

PATIENCE = 300_000  # milliseconds: a base model is loaded on the way
SHIPPED = "BBC headlines · plain"


@pytest.fixture
def lora(tmp_path):
    """A LoRA of the default base, on two kinds of matrices, as PEFT saves it."""
    directory = tmp_path / "mine"
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS", init_lora_weights=False)
    get_peft_model(load_base(DEFAULT_BASE, ["a", "b"]), config).save_pretrained(directory, save_embedding_layers=False)
    return directory


def choose(walk, key, option):
    walk.page.locator(f".st-key-{key} input").first.scroll_into_view_if_needed()
    walk.settle()  # a list that opens while the page scrolls closes again
    walk.page.locator(f".st-key-{key} input").first.fill(option)
    walk.page.get_by_role("option", name=option, exact=True).click()
    walk.settle()
    assert walk.page.locator(f".st-key-{key} input").first.input_value() == option


def test_a_lora_is_uploaded_and_stands_beside_a_shipped_adapter(server, visitor, lora):
    walk = visitor().open(f"{server}/explore")
    page = walk.page
    page.get_by_role("button", name="Open your own").click()
    files = [lora / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    page.get_by_role("dialog").locator("input[type=file]").set_input_files(files)
    for file in files:  # both are there before they are opened
        page.get_by_role("dialog").get_by_title(file.name).wait_for()
    walk.settle()
    page.locator(".st-key-open-upload button").click()
    page.wait_for_selector("[role=dialog]", state="detached", timeout=PATIENCE)
    walk.wait_for_matrix("Layer 0 · query · LoRA r=4, projected")
    walk.settle()
    assert "of the update’s energy" in page.locator(".stMain").inner_text()

    choose(walk, "vs", SHIPPED)
    page.wait_for_selector(".st-key-two-profiles .main-svg", state="attached", timeout=PATIENCE)
    page.locator(".st-key-open-pictures summary").click()
    page.wait_for_selector(".st-key-coefficients-1 .main-svg", state="attached", timeout=PATIENCE)
    words = page.locator(".st-key-compare").inner_text()
    assert "Compared on the 12 matrices that both adapt" in words
    assert "The largest |Mᵢⱼ| is" in words
    page.wait_for_selector(".stMain [data-testid=stProgress]", state="detached", timeout=PATIENCE)
    walk.settle()
    walk.rest()  # what follows a job ends with it
    likeness = page.locator("[class*='st-key-likeness-map-'] [role=figure]").get_attribute("aria-label")
    assert "cosine" in likeness.lower()
    assert not walk.complaints


def test_cards_are_guessed_and_answered_until_they_are_stopped(server, visitor):
    walk = visitor().open(f"{server}/explore?view=Edit&adapter={SHIPPED}".replace(" ", "+"))
    page = walk.page
    titles = [card.title for card in cards(open_adapter(shipped_adapters()[SHIPPED]))][:2]
    for number, title in enumerate(titles):
        page.locator(".st-key-card").get_by_text(title, exact=True).click()
        walk.settle()
        page.locator(".st-key-reveal button").click()
        page.wait_for_selector(".st-key-edit-outcomes .main-svg", state="attached", timeout=PATIENCE)
        page.get_by_text("You guessed 50%.").wait_for(timeout=PATIENCE)
        walk.settle()
        drawn = page.locator(".st-key-edit-outcomes [role=figure]").get_attribute("aria-label")
        assert title in drawn
        assert all(before in drawn for before in titles[:number])
    page.locator(".st-key-stop-background button").click()  # the other cards, which the first guess has evaluated too
    page.locator(".st-key-stop-background").wait_for(state="detached", timeout=PATIENCE)
    assert not walk.complaints


def test_a_shipped_adapter_is_exported_as_lora_and_opened_again(server, visitor, tmp_path):
    walk = visitor().open(f"{server}/explore")
    page = walk.page
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
    walk.settle()
    assert "lora-32" in walk.selection()[0]
    assert not walk.complaints
