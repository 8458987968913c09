"""What a language model reads of pairs, and the loss that counts: that of transformers on the completions alone."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from analysis.common.errors import OwnDataError
from analysis.training.language.tokens import NOT_LEARNED, load_pair_encoder, perplexity
from tests.analysis.causal import END, save_causal

PAIRS = [("w4 w5 w6", "w7 w8"), ("w9", "w10 w11 w12 w13")]


def test_labels_are_the_completions_and_their_ends_and_nothing_else(tmp_path):
    encode = load_pair_encoder(str(save_causal(tmp_path, ends=True)))
    inputs = encode(PAIRS)
    no = NOT_LEARNED
    assert inputs["labels"].tolist() == [[no, no, no, 7, 8, END], [no, 10, 11, 12, 13, END]]
    assert inputs["input_ids"].tolist() == [[4, 5, 6, 7, 8, END], [9, 10, 11, 12, 13, END]]
    padded = encode([PAIRS[0], ("w9", "w10")])
    assert padded["labels"].tolist()[1] == [no, 10, END, no, no, no]
    assert padded["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]


def test_a_chat_template_stands_around_the_prompt(tmp_path):
    encode = load_pair_encoder(str(save_causal(tmp_path, chat=True, ends=True)))
    assert encode(PAIRS[:1])["input_ids"].tolist() == [[1, 4, 5, 6, 2, 3, 7, 8, END]]
    assert encode(PAIRS[:1])["labels"].tolist() == [[NOT_LEARNED] * 6 + [7, 8, END]]


def test_a_long_completion_is_cut_and_counted_and_a_long_prompt_is_refused(tmp_path):
    encode = load_pair_encoder(str(save_causal(tmp_path)))
    assert encode.longest == 16  # what the model reads
    long = ("w1 w2", " ".join(["w3"] * 20))
    assert encode([long])["labels"].tolist() == [[NOT_LEARNED] * 2 + [3] * 14]
    assert encode.count_cut([long, *PAIRS]) == 1
    with pytest.raises(OwnDataError, match="has 16 tokens, and 16 are read of a pair"):
        encode([(" ".join(["w1"] * 16), "w2")])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_perplexity_counts_each_token_of_a_completion_alike(tmp_path, family):
    base = save_causal(tmp_path, family, ends=True)
    model, encode = AutoModelForCausalLM.from_pretrained(base).eval(), load_pair_encoder(str(base))
    losses = []
    for pair in PAIRS:  # by hand: one text at a time, without padding
        inputs = encode([pair])
        log_p = torch.log_softmax(model(inputs["input_ids"]).logits[0].double(), -1)
        begin = int((inputs["labels"][0] == NOT_LEARNED).sum())
        losses += [-log_p[at - 1, inputs["input_ids"][0, at]].item() for at in range(begin, inputs["labels"].shape[1])]
    measured = perplexity(model, encode, PAIRS)
    assert measured.tokens == len(losses) == 8
    assert measured.value == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
    assert perplexity(model, encode, PAIRS, batch_size=1).value == pytest.approx(measured.value, rel=1e-5)
