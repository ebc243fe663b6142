"""SDXL's two text encoders: prompts of up to three windows of 77 tokens, and what was encoded lately."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdxl_runtime.buckets import WINDOW

REMEMBERED = 64
"""Encoded prompts that are kept: at SDXL's size, 64 of them take about 20 MB."""

Encoded = tuple[torch.Tensor, torch.Tensor]
"""Penultimate hidden states of both encoders `[1,T,C]`, and the second one's projection `[1,P]`."""


class TextEncoders:
    """Tokenizers and encoders on one device. Only `count` may be called from any thread."""

    def __init__(self, folder: Path, weights: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._dtype = dtype
        self._tokenizers = tuple(
            CLIPTokenizer.from_pretrained(folder / name, local_files_only=True) for name in ("tokenizer", "tokenizer_2")
        )
        self._tokenizing = threading.Lock()
        self.encoders: tuple[Any, Any] = tuple(
            cls.from_pretrained(folder / name, dtype=dtype, **weights).eval().requires_grad_(False).to(device)
            for cls, name in ((CLIPTextModel, "text_encoder"), (CLIPTextModelWithProjection, "text_encoder_2"))
        )
        self._remembered: OrderedDict[tuple[object, ...], Encoded] = OrderedDict()

    @property
    def projection(self) -> int:
        """P, the width of the pooled projection."""
        return int(self.encoders[1].config.projection_dim)

    @property
    def width(self) -> int:
        """C of the second encoder, which is all that a refiner attends to."""
        return int(self.encoders[1].config.hidden_size)

    def count(self, text: str) -> int:
        """Tokens of a text, with its start and its end, by the tokenizer that needs more."""
        with self._tokenizing:  # a fast tokenizer refuses two threads at once ("Already borrowed")
            return max(len(tokenizer(text, verbose=False).input_ids) for tokenizer in self._tokenizers)

    def forget(self) -> None:
        """The encoders' weights changed."""
        self._remembered.clear()

    def encode(self, text: str, text_2: str | None, tokens: int) -> Encoded:
        """Encode a prompt for a UNet that attends to `tokens` tokens; `text_2` is the second encoder's, if another.

        A longer text than a window's is encoded window by window, each with a start and an end, and the hidden states
        are put one after the other; the projection is the first window's.
        """
        key = (text, text_2, tokens)
        if key not in self._remembered:
            texts = (text, text if text_2 is None else text_2)
            hidden, pooled = zip(
                *(self._encode(index, part, tokens // WINDOW) for index, part in enumerate(texts)), strict=True
            )
            self._remembered[key] = torch.cat(hidden, dim=-1), pooled[1]
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return self._remembered[key]

    def _encode(self, index: int, text: str, windows: int) -> Encoded:
        ids = torch.tensor(self._windows(index, text, windows), device=self._device)
        output = self.encoders[index](ids, output_hidden_states=True)
        hidden = output.hidden_states[-2].flatten(0, 1).unsqueeze(0)
        # NB: the first encoder has no projection; its first output is what nobody reads
        return hidden.to(self._dtype), output[0][:1].to(self._dtype)

    def _windows(self, index: int, text: str, windows: int) -> list[list[int]]:
        """Token ids `[windows, 77]`: what fits, the rest cut off, as admission counted the tokens."""
        tokenizer = self._tokenizers[index]
        with self._tokenizing:
            ids: Sequence[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        length = min(WINDOW, int(tokenizer.model_max_length)) - 2
        rows = []
        for first in range(0, windows * length, length):
            part = list(ids[first : first + length])
            padding = [tokenizer.pad_token_id] * (length - len(part))
            rows.append([tokenizer.bos_token_id, *part, tokenizer.eos_token_id, *padding])
        return rows
