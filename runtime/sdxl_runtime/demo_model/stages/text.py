"""Stage "text": both text encoders learn to tell the attributes of a scene from its prompt, and are frozen then.

CLIP learns what words mean from pictures; with one object and five attributes, being asked for the attributes by
linear heads teaches the same in a minute. The heads are thrown away.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdxl_runtime.demo_model.recipe import TEXT_WIDTH, TOKENS, new_text_encoders, write_tokenizer
from sdxl_runtime.demo_model.scenes import COLOURS, PLACES, SHAPES, SIZES, TEMPLATES, Scene, prompt_for, training_scenes
from sdxl_runtime.demo_model.stages.loop import Loop, averaged_weights

_BATCH = 64
_FIELDS: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("shape", SHAPES),
    ("colour", COLOURS),
    ("background", COLOURS),
    ("size", (*SIZES, None)),
    ("place", (*PLACES, None)),
)
_CLASSES = [len(words) for _, words in _FIELDS]


def random_prompt(scene: Scene, draw: random.Random) -> tuple[str, list[int]]:
    """A prompt for the scene that may leave out size or place, and the class of each attribute it states."""
    size = None if draw.random() < 0.2 else scene.size
    place = None if draw.random() < 0.2 else scene.place
    words = {**vars(scene), "size": size, "place": place}
    prompt = prompt_for(scene.shape, scene.colour, scene.background, size, place, draw.randrange(TEMPLATES))
    return prompt, [choices.index(words[name]) for name, choices in _FIELDS]


class Encoders(nn.Module):
    """Both encoders as SDXL uses them, with heads on each of the three things that the UNet is given."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        """Untrained encoders and heads."""
        super().__init__()
        self.first: CLIPTextModel
        self.second: CLIPTextModelWithProjection
        self.first, self.second = new_text_encoders(tokenizer)
        self.heads = nn.ModuleList(nn.Linear(TEXT_WIDTH, sum(_CLASSES)) for _ in range(3))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (n, 77) to what SDXL conditions on: states (n, 77, 128) and the pooled state (n, 64)."""
        one = self.first(ids, output_hidden_states=True).hidden_states[-2]
        both = self.second(ids, output_hidden_states=True)
        return torch.cat([one, both.hidden_states[-2]], -1), both.text_embeds

    def loss(self, ids: Tensor, classes: Tensor) -> Tensor:
        """Cross-entropy of all heads, summed over the attributes; `classes` is (n, 5)."""
        states, pooled = self(ids)
        ends = (ids == self.first.config.eos_token_id).int().argmax(1)
        at_end = states[torch.arange(len(ids)), ends]
        total = torch.zeros(())
        for head, seen in zip(self.heads, (*at_end.split(TEXT_WIDTH, -1), pooled), strict=True):
            for field, logits in enumerate(head(seen).split(_CLASSES, -1)):
                total = total + nn.functional.cross_entropy(logits, classes[:, field])
        return total


def token_ids(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Token ids (n, 77), padded as the pipeline pads them."""
    ids: Tensor = tokenizer(
        prompts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def train_text(out: Path, minutes: float, seed: int, first_rank: bool = True) -> None:
    """Train both encoders; leaves `text.pt` and the tokenizer in `out`."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    tokenizer = write_tokenizer(out / "tokenizer")
    scenes = training_scenes()
    encoders = Encoders(tokenizer)
    loop = Loop("text", encoders, out, minutes, 2e-3, first_rank=first_rank)
    for _ in loop.steps():
        prompts, classes = zip(*(random_prompt(scene, draw) for scene in draw.sample(scenes, _BATCH)), strict=True)
        loop.descend(encoders.loss(token_ids(tokenizer, list(prompts)), torch.tensor(classes)))


def load_text(out: Path) -> tuple[CLIPTokenizer, Encoders]:
    """The tokenizer and the trained encoders of `out`."""
    tokenizer = write_tokenizer(out / "tokenizer")
    encoders = Encoders(tokenizer)
    encoders.load_state_dict(averaged_weights("text", out))
    return tokenizer, encoders.eval()
