"""What a causal language model writes, with its adapter and without, side by side."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd
import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import svft  # noqa: F401  (registers SVFT with PEFT)
from analysis.adapters.adapter import Adapter
from analysis.adapters.paths import CONFIG_FILE
from analysis.adapters.recognise import CHANGING_KINDS
from analysis.common.compat import prepare_peft
from analysis.common.errors import AdapterError
from analysis.models.base_weights import locate_base
from analysis.models.classes import quiet
from analysis.models.refusals import refusals
from analysis.running.inference import dialled
from analysis.running.loading import require_trusted
from analysis.training.language.tokens import prompt_tokens

TOKENS = 40  # that are written at most
_SIDES = {"without the adapter": (False,), "with the adapter": (True,), "both, side by side": (False, True)}


class Writer:
    """A language model with one adapter, loaded once. Threads can share it: one token is computed at a time."""

    def __init__(
        self, adapted: nn.Module, tokenizer: PreTrainedTokenizerBase, original: PreTrainedModel | None = None
    ) -> None:
        """Take models in eval mode.

        Args:
            adapted: A PEFT model, or a whole fine-tuned one.
            tokenizer: Of both.
            original: The base model beside a whole fine-tuned one, or an adapter whose start was taken out of its own;
                any other PEFT model has it inside.
        """
        self._adapted = adapted
        self._original = original
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Forget the last text, so that it is computed anew."""
        self._last: tuple[list[int], int, list[int]] = ([], 0, [])  # without the adapter: prompt, limit, tokens

    def write(
        self, prompt: str, alpha: float = 1.0, tokens: int = TOKENS, sides: tuple[bool, ...] = (False, True)
    ) -> Iterator[tuple[str, ...]]:
        """Yield, after every token, how the text goes on so far: without the adapter, and with it.

        Always the likeliest token (greedy): what differs, the adapter did. One side goes on if the other has ended.
        The last text without the adapter is kept: where only the dial was turned, it is not computed again.

        Args:
            prompt: The text; a message to answer, if the tokenizer has a chat template.
            alpha: Of the dial; it changes nothing if there is no M to scale.
            tokens: How many are written at most; fewer if the model says that its text ends, or reads no more.
            sides: Whether each text is written with the adapter.

        Raises:
            AdapterError: If the prompt is empty, or longer than the model reads.
        """
        with self._lock:  # a fast tokenizer refuses a thread while it is set up for another one
            ids = torch.tensor([prompt_tokens(self._tokenizer, prompt) if prompt.strip() else []], dtype=torch.int64)
        longest = getattr(self._adapted.config, "max_position_embeddings", None) or ids.shape[1] + tokens
        if not ids.shape[1] or ids.shape[1] >= longest:
            raise AdapterError(
                f"A text of {ids.shape[1]} tokens cannot be continued: give one of 1 to {longest - 1} tokens."
            )
        ends = _ends(self._adapted)
        limit = min(tokens, longest - ids.shape[1])
        texts = [_Side(adapted, ids) for adapted in sides]
        if self._last[:2] == (ids[0].tolist(), limit):
            for text in texts:
                text.ahead = [] if text.adapted else self._last[2]
        for _ in range(limit):
            for text in texts:
                if not text.ended:
                    with self._lock, self._as(text.adapted, alpha) as model:
                        text.go_on(model, ends)
            yield tuple(map(self._text, texts))
            if all(text.ended for text in texts):
                break
        for text in texts:
            if not text.adapted:
                self._last = ids[0].tolist(), limit, text.written

    def _text(self, side: _Side) -> str:
        text = self._tokenizer.decode(side.written, skip_special_tokens=True)
        assert isinstance(text, str)  # of one sequence
        return text

    @contextmanager
    def _as(self, adapted: bool, alpha: float) -> Iterator[nn.Module]:
        """Give the model with the adapter or without it inside the block."""
        if adapted:
            with dialled(self._adapted, alpha):
                yield self._adapted
        elif self._original is not None:
            yield self._original
        else:
            assert isinstance(self._adapted, PeftModel)  # full fine-tuning comes with the original
            with self._adapted.disable_adapter():
                yield self._adapted


@dataclass
class _Side:
    """One text: with the adapter or without, what the model reads next, (1, length) int64, its cache, its tokens."""

    adapted: bool
    reads: torch.Tensor
    cache: object = None
    written: list[int] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)  # what it is going to be, if that was computed before
    ended: bool = False

    @torch.inference_mode()
    def go_on(self, model: nn.Module, ends: set[int]) -> None:
        """Write one token more."""
        if self.ahead:
            self.written.append(self.ahead[len(self.written)])
        else:
            out = model(input_ids=self.reads, past_key_values=self.cache, use_cache=True)
            self.reads = out.logits[:, -1:].argmax(-1)
            self.cache = out.past_key_values
            self.written.append(int(self.reads))
        self.ended = self.written[-1] in ends


def writing_speed(writer: Writer, prompt: str, tokens: int = TOKENS) -> pd.DataFrame:
    """Measure how fast a model writes here, as it does in the app: one text, one token at a time.

    Args:
        writer: The model; it writes a few tokens beforehand, which are not measured.
        prompt: The text.
        tokens: How many are written at most.

    Columns:
        what: "without the adapter", "with the adapter" or "both, side by side".
        first_token: Seconds from the prompt to the first token, of both if there are two.
        tokens_per_second: After the first, of each side.
    """
    list(writer.write(prompt, tokens=2))
    rows = []
    for what, sides in _SIDES.items():
        writer.forget()
        times = [time.perf_counter()]
        for _ in writer.write(prompt, tokens=tokens, sides=sides):
            times.append(time.perf_counter())
        rest = times[-1] - times[1]
        rows.append((what, times[1] - times[0], (len(times) - 2) / rest if rest else math.nan))
    return pd.DataFrame(rows, columns=["what", "first_token", "tokens_per_second"])


def load_writer(adapter: Adapter) -> Writer:
    """Load a causal language model with its adapter; it takes seconds, so keep what it returns.

    Raises:
        AdapterError: If it cannot be loaded, its base is not here, or this server applies no uploads.
    """
    require_trusted(adapter.path)
    base = str(locate_base(adapter.base, adapter.revision))
    prepare_peft()
    try:
        with refusals(), quiet():
            original = AutoModelForCausalLM.from_pretrained(base, dtype="auto").eval()
            tokenizer = AutoTokenizer.from_pretrained(base)
            if (adapter.path / CONFIG_FILE).is_file():
                model = PeftModel.from_pretrained(original, str(adapter.path)).eval()
                if adapter.kind not in CHANGING_KINDS:
                    return Writer(model, tokenizer)
                return Writer(model, tokenizer, AutoModelForCausalLM.from_pretrained(base, dtype="auto").eval())
            adapted = AutoModelForCausalLM.from_pretrained(str(adapter.path), dtype="auto").eval()
            return Writer(adapted, tokenizer, original)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise AdapterError(f"{adapter.path.name} cannot be loaded as a language model: {error}") from error


def _ends(model: nn.Module) -> set[int]:
    """Return the tokens that say that a text ends."""
    token_ids = getattr(model.generation_config, "eos_token_id", None)
    return set() if token_ids is None else {token_ids} if isinstance(token_ids, int) else set(token_ids)
