"""Files of prompts and completions: what is read of them, what is refused, and how they are divided."""

import json

import pytest

from analysis.common.errors import OwnDataError
from analysis.training.language.pairs import read_pairs, register_pairs
from analysis.training.tasks import get_task, normalize


def write(path, pairs):
    path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs))
    return path


@pytest.fixture
def pairs():
    return [(f"w{i} w{i + 1}", f"w{i + 2}") for i in range(40)]


def test_a_file_gives_each_pair_once_in_an_order_of_its_own(tmp_path, pairs):
    read = read_pairs(write(tmp_path / "a.jsonl", [*pairs, pairs[0]]))
    assert set(read) == set(pairs)
    assert len(read) == len(pairs)
    assert read == read_pairs(write(tmp_path / "b.jsonl", pairs[::-1]))
    assert list(read) != pairs


def test_blank_lines_further_fields_and_a_mark_of_the_encoding_do_not_matter(tmp_path, pairs):
    lines = [json.dumps({"prompt": p, "completion": c, "id": 3}) for p, c in pairs]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    assert set(read_pairs(tmp_path / "a.jsonl")) == set(pairs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": "a"', "Line 12 of a.jsonl is not a JSON object"),
        (b'["a", "b"]', "Line 12 of a.jsonl is not a JSON object"),
        (b'{"prompt": "a"}', "Line 12 of a.jsonl has no text called 'completion'"),
        (b'{"prompt": 3, "completion": "a"}', "Line 12 of a.jsonl has no text called 'prompt'"),
        (b'{"prompt": "a", "completion": " "}', "Line 12 of a.jsonl has an empty completion"),
        (b'{"prompt": "\xff", "completion": "a"}', "Line 12 of a.jsonl is not UTF-8"),
    ],
)
def test_a_bad_line_is_a_sentence_with_its_number(tmp_path, pairs, line, message):
    path = write(tmp_path / "a.jsonl", pairs[:11])
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(OwnDataError, match=message):
        read_pairs(path)


def test_too_few_pairs_and_a_missing_file_are_sentences(tmp_path, pairs):
    with pytest.raises(OwnDataError, match="has 9 different pairs, at least 10"):
        read_pairs(write(tmp_path / "a.jsonl", pairs[:9]))
    with pytest.raises(OwnDataError, match=r"none\.jsonl cannot be read: No such file"):
        read_pairs(tmp_path / "none.jsonl")


def test_the_split_follows_from_the_prompts_alone(tmp_path, pairs):
    task = register_pairs(write(tmp_path / "a.jsonl", pairs))
    assert get_task(task.name) is task
    splits = task.load()
    assert (len(splits.validation), len(splits.train), len(splits.test)) == (6, 34, 0)
    other = [(prompt, f"{completion} w1") for prompt, completion in pairs[::-1]]
    changed = register_pairs(write(tmp_path / "b.jsonl", other))
    assert changed.name != task.name
    prompts = [[prompt for prompt, _ in of.load().validation.inputs] for of in (task, changed)]
    assert prompts[0] == prompts[1]


def test_no_prompt_is_on_both_sides(tmp_path, pairs):
    several = [(spelled, f"{c} {i}") for p, c in pairs for i, spelled in enumerate((p, p.upper(), f" {p} "))]
    splits = register_pairs(write(tmp_path / "a.jsonl", several)).load()
    held_out, train = ({normalize(prompt) for prompt, _ in s.inputs} for s in (splits.validation, splits.train))
    assert held_out
    assert train
    assert held_out.isdisjoint(train)
    with pytest.raises(OwnDataError, match="same prompt"):
        register_pairs(write(tmp_path / "b.jsonl", [("w1", f"w{i}") for i in range(20)]))
