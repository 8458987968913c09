"""An adapter of a tiny language model that writes something else than its base."""

from pathlib import Path

import torch
from peft import get_peft_model

from analysis.models.loading import load_causal
from svft import SvftConfig
from tests.analysis.causal import save_causal


def save_talking(directory: Path) -> Path:
    """Save a model of random weights and an SVFT adapter of it into two folders; return that of the adapter."""
    base = load_causal(str(save_causal(directory / "base")))
    adapted = get_peft_model(
        base, SvftConfig(target_modules=["q_proj", "v_proj"], pattern="banded", off_diag=2, task_type="CAUSAL_LM")
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "svft_coefficients" in name:
                parameter.normal_(std=2.0)
    adapted.save_pretrained(directory / "talking", save_embedding_layers=False)
    return directory / "talking"
