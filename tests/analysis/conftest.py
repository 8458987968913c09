"""A tiny random base model, for tests of training that need no good one."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> str:
    """Return the directory of a BERT of two blocks with n = 16, with the default base's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    from analysis.models.loading import DEFAULT_BASE, load_tokenizer

    directory = tmp_path_factory.mktemp("tiny-base")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(
                vocab_size=30522, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=64,
            )
        )  # fmt: skip
    model.save_pretrained(directory)
    load_tokenizer(DEFAULT_BASE).save_pretrained(directory)
    return str(directory)
