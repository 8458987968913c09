"""A tiny causal language model with its tokenizer, as its users save them: words w0 to w49, 16 positions."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from tests.analysis.adapters.peft_models import FAMILIES

# What a chat template adds: w1 before a message, w2 after it, w3 before the answer.
CHAT = "{% for m in messages %}w1 {{ m['content'] }} w2 {% endfor %}{% if add_generation_prompt %}w3 {% endif %}"
END = 49


def save_causal(directory: Path, family: str = "llama", *, chat: bool = False, ends: bool = False) -> Path:
    """Save a model of random weights.

    Args:
        directory: Where.
        family: "llama" or "gpt2".
        chat: Whether its tokenizer has a chat template.
        ends: Whether its tokenizer has a token, w49, that ends a text.
    """
    torch.manual_seed(0)
    FAMILIES[family]().save_pretrained(directory)
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    options = {"eos_token": f"w{END}"} if ends else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", **options)
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(directory)
    return directory
