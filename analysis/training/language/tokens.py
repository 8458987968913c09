"""Prompts and completions as a causal language model reads them: tokens, of which the completion's are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from analysis.common.errors import OwnDataError
from analysis.models.loading import load_config, load_tokenizer
from analysis.training.language.pairs import Pair

LONGEST = 512  # tokens of a pair that are read, if the model reads as many
NOT_LEARNED = -100  # label of a token whose loss does not count, in transformers and in torch


class Perplexity(NamedTuple):
    """exp of the mean loss of the completions' tokens, in nats, and how many they are."""

    value: float
    tokens: int


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the tokens after which a completion begins: of the chat template if there is one, else of the text."""
    if tokenizer.chat_template is None:
        return list(tokenizer(prompt)["input_ids"])
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert isinstance(text, str)  # of one conversation
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # which the template has written out


class PairEncoder:
    """Makes the inputs of a causal language model from pairs.

    Attributes:
        longest: Tokens of a pair that are read; a longer completion is cut at its end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self.longest = longest
        self._tokenizer = tokenizer

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and labels, each (pairs, length) int64, padded on the right.

        Labels are the completion's tokens and the one that ends it; `NOT_LEARNED` where there is a prompt or padding.
        transformers shifts them against the logits by itself.

        Raises:
            OwnDataError: If a prompt alone is as long as what is read.
        """
        rows = [self._row(pair) for pair in pairs]
        width = max(len(prompt) + len(completion) for prompt, completion in rows)
        padding = self._tokenizer.pad_token_id or 0  # any: it is masked
        ids = torch.full((len(rows), width), padding)
        labels = torch.full((len(rows), width), NOT_LEARNED)
        mask = torch.zeros((len(rows), width), dtype=torch.int64)
        for row, (prompt, completion) in enumerate(rows):
            begin, end = len(prompt), len(prompt) + len(completion)
            ids[row, :end] = torch.tensor(prompt + completion)
            labels[row, begin:end] = torch.tensor(completion)
            mask[row, :end] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def count_cut(self, pairs: Sequence[Pair]) -> int:
        """Return how many pairs are longer than what is read of them."""
        return sum(sum(map(len, self._whole(pair))) > self.longest for pair in pairs)

    def _row(self, pair: Pair) -> tuple[list[int], list[int]]:
        prompt, completion = self._whole(pair)
        if len(prompt) >= self.longest:
            raise OwnDataError(
                f"The prompt {pair[0][:40]!r} … has {len(prompt)} tokens, and {self.longest} are read of a pair: "
                "shorten it, so that its completion is read, too."
            )
        return prompt, completion[: self.longest - len(prompt)]

    def _whole(self, pair: Pair) -> tuple[list[int], list[int]]:
        """Return the tokens of the prompt, and those of the completion with the one that ends it.

        They are cut apart before they are made: so the prompt has the tokens that it has when it is continued.
        """
        completion = list(self._tokenizer(pair[1], add_special_tokens=False)["input_ids"])
        end = self._tokenizer.eos_token_id
        return prompt_tokens(self._tokenizer, pair[0]), completion if end is None else [*completion, end]


def load_pair_encoder(base: str) -> PairEncoder:
    """Return what makes the inputs of `base` from pairs.

    Raises:
        BaseModelError: If its tokenizer cannot be found or read.
    """
    reads = getattr(load_config(base), "max_position_embeddings", None) or LONGEST
    return PairEncoder(load_tokenizer(base), min(LONGEST, reads))


@torch.inference_mode()
def perplexity(model: nn.Module, encode: PairEncoder, pairs: Sequence[Pair], batch_size: int = 8) -> Perplexity:
    """Return the perplexity of a model on completions, each token counted alike. The model must be in eval mode.

    Args:
        model: A causal language model.
        encode: Of its base.
        pairs: With at least one completion of a token that something stands before.
        batch_size: Pairs that are read at once.
    """
    total, tokens = 0.0, 0
    for start in range(0, len(pairs), batch_size):
        inputs = encode(pairs[start : start + batch_size])
        count = int((inputs["labels"][:, 1:] != NOT_LEARNED).sum())  # nothing predicts a first token
        total += float(model(**inputs).loss) * count
        tokens += count
    return Perplexity(float(np.exp(total / tokens)), tokens)
