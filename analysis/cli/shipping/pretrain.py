"""Body of `svft pretrain-digits`: the small image classifier that the vision task starts from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, get_linear_schedule_with_warmup

from analysis.cli.train import progress_bar
from analysis.models.loading import Encoder, load_encoder
from analysis.models.packages import package_directory
from analysis.training.data.digits import LABELS, MAX_PIXEL, other_digits, pretraining_digits

EPOCHS = 150
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
WARMUP_RATIO = 0.1


def pretrain_digits(output: Path, epochs: int = EPOCHS) -> float:
    """Train a ViT on the upright pretraining digits and write it to `output`, with its pixels' normalisation.

    One thread and a fixed seed: on one machine, the same file every time.

    Returns:
        Its accuracy on all other digits, upright.
    """
    scikit_learn = package_directory("sklearn")
    assert scikit_learn is not None  # it is required
    output.mkdir(parents=True, exist_ok=True)
    # What transformers' image processors read: (pixel · rescale_factor − mean) / std, here from −1 to 1.
    normalisation = {"rescale_factor": 1 / MAX_PIXEL, "image_mean": [0.5], "image_std": [0.5]}
    (output / "preprocessor_config.json").write_text(json.dumps(normalisation, indent=2) + "\n", encoding="utf-8")
    config = _config()
    config.save_pretrained(output)
    encode = load_encoder(str(output))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = ViTForImageClassification(config)
            _train(model, encode, *pretraining_digits(scikit_learn), epochs)
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(output)
    return upright_accuracy(model, encode, *other_digits(scikit_learn))


@torch.inference_mode()
def upright_accuracy(model: nn.Module, encode: Encoder, images: np.ndarray, digits: np.ndarray) -> float:
    """Return the share of images (n, 8, 8) whose digit, (n,), the model's own head names."""
    return float((model(**encode(list(images))).logits.argmax(dim=1).numpy() == digits).mean())


def _config() -> ViTConfig:
    return ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        initializer_range=0.05,  # the usual 0.02 is for wider models: here it cost 4 points
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )


def _train(model: nn.Module, encode: Encoder, images: np.ndarray, digits: np.ndarray, epochs: int) -> None:
    steps = epochs * len(images) // BATCH_SIZE
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = get_linear_schedule_with_warmup(optimizer, round(WARMUP_RATIO * steps), steps)
    generator = np.random.default_rng(0)
    model.train()
    with progress_bar() as progress:
        line = progress.add_task("Pretraining on digits", total=steps, loss="")
        for _ in range(steps):
            batch = generator.choice(len(images), BATCH_SIZE, replace=False)
            inputs = encode([_moved(images[i], *generator.integers(-1, 2, size=2)) for i in batch])
            loss = model(**inputs, labels=torch.from_numpy(digits[batch])).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.update(line, advance=1, loss=f"loss {loss.item():.3f}")
    model.eval()


def _moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return an image moved by at most one pixel each way, with empty pixels at the edge."""
    return np.pad(image, 1)[1 - down : 9 - down, 1 - right : 9 - right]
