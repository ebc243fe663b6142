"""What is sent and when: a mix of requests, drawn from a seed. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

PROMPTS = (
    "a red circle on a blue background",
    "a green square on a white background",
    "a yellow triangle on a black background",
    "a photo of an astronaut riding a horse on mars, detailed, 8k",
    "an oil painting of a lighthouse in a storm",
)


@dataclass(frozen=True, slots=True)
class Mix(Generic[T]):
    """Values with their weights; the weights need not add up to anything."""

    values: tuple[T, ...]
    weights: tuple[float, ...]

    def draw(self, chance: random.Random) -> T:
        """One value, in proportion to the weights."""
        return chance.choices(self.values, self.weights)[0]


@dataclass(frozen=True, slots=True)
class Workload:
    """What requests ask for. A mix that is None leaves its field to the server's default."""

    sizes: Mix[str]
    steps: Mix[int] | None = None
    guidances: Mix[float] | None = None
    prompts: Sequence[str] = PROMPTS
    extra: Mapping[str, object] | None = None
    """Members that every body gets, over all others; one that is None leaves its member out."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """One request: its body, and in an open loop when it is sent, in seconds from the start."""

    index: int
    at: float
    body: Mapping[str, object]


def requests(workload: Workload, rate: float | None = None) -> Iterator[Planned]:
    """Endless: the same sequence for the same workload and rate.

    With `rate`, in requests per second, they arrive as a Poisson process: gaps are exponential. Bodies do not depend on
    the rate, so that systems can be given the same requests at other rates.
    """
    bodies = random.Random(f"bodies {workload.seed}")
    gaps = random.Random(f"gaps {workload.seed}")
    at = 0.0
    for index in count():
        if rate is not None:
            at += gaps.expovariate(rate)
        yield Planned(index, at, _body(workload, index, bodies))


def _body(workload: Workload, index: int, chance: random.Random) -> dict[str, object]:
    body: dict[str, object] = {
        "prompt": workload.prompts[index % len(workload.prompts)],
        "size": workload.sizes.draw(chance),
        "seed": workload.seed * 1_000_000 + index,
    }
    if workload.steps is not None:
        body["num_inference_steps"] = workload.steps.draw(chance)
    if workload.guidances is not None:
        body["guidance_scale"] = workload.guidances.draw(chance)
    return {name: value for name, value in {**body, **(workload.extra or {})}.items() if value is not None}


def parse_sizes(text: str) -> Mix[str]:
    """`1024x1024` or `1024x1024:3,768x1024:1`, a weight after each colon, 1 where there is none.

    Raises:
        ValueError: in a sentence that says what would be right.
    """
    return _parse(text, str)


def parse_steps(text: str) -> Mix[int]:
    """`30`, `8,16,32` or `8:2,16:1`.

    Raises:
        ValueError: in a sentence that says what would be right.
    """
    return _parse(text, int)


def parse_guidances(text: str) -> Mix[float]:
    """`5`, `1,7.5:2` or `1-9`, which is every whole number from 1 to 9 with the same weight.

    Raises:
        ValueError: in a sentence that says what would be right.
    """
    first, dash, last = text.partition("-")
    if dash and first.isdigit() and last.isdigit() and int(first) <= int(last):
        values = tuple(float(value) for value in range(int(first), int(last) + 1))
        return Mix(values, (1.0,) * len(values))
    return _parse(text, float)


def _parse(text: str, kind: type[T]) -> Mix[T]:
    values, weights = [], []
    for item in text.split(","):
        value, _, weight = item.strip().partition(":")
        try:
            values.append(kind(value))  # type: ignore[call-arg]
            weights.append(float(weight) if weight else 1.0)
        except ValueError:
            raise ValueError(f"{item!r} is no {kind.__name__} with a weight; write e.g. 8,16:2,32") from None
    if not all(weight > 0 for weight in weights):
        raise ValueError(f"{text!r} has a weight that is not positive")
    return Mix(tuple(values), tuple(weights))
