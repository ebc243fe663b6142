"""From a well-formed request to a job; malformed ones are in test_errors. Tokens are words here."""

from typing import Any

import pytest

from sdxl_runtime.admission import RequestError, Tokens, job_from, shorten
from sdxl_runtime.buckets import Bucket, Cost
from sdxl_runtime.jobs import LARGEST_SEED, Job
from sdxl_runtime.protocol import GenerationRequest
from sdxl_runtime.settings import Settings

ONE, FOUR, TALL = Bucket(128, 128), Bucket(128, 128, 4), Bucket(96, 160)
SETTINGS = Settings(
    model_name="studio",
    buckets=(ONE, FOUR, TALL),
    default_steps=22,
    default_guidance_scale=6.5,
    default_scheduler="UniPC",
)
COSTS = {ONE: Cost(1.0, 0.1), FOUR: Cost(2.0, 0.1), TALL: Cost(1.0, 0.1)}


def admitted(**members: Any) -> Job:
    request = GenerationRequest.model_validate({"prompt": "a red circle", **members})
    return job_from(request, SETTINGS, COSTS, Tokens(7, lambda text: len(text.split()) + 2), lambda: 4711)


def refused(**members: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        admitted(**members)
    return error.value


def test_the_services_defaults_fill_what_a_request_leaves_out() -> None:
    assert admitted() == Job("a red circle", None, ONE, 1, 4711, 22, 6.5, "UniPC")


def test_what_a_request_names_is_taken() -> None:
    job = admitted(
        model="studio",
        n=4,
        size="128x128",
        negative_prompt="",
        seed=5,
        num_inference_steps=7,
        guidance_scale=0,
        scheduler="DDIM",
    )
    assert job == Job("a red circle", "", FOUR, 4, 5, 7, 0.0, "DDIM")


def test_null_is_the_same_as_absent() -> None:
    names = ("model", "n", "size", "quality", "seed", "negative_prompt", "scheduler", "background", "stream", "style")
    assert admitted(**dict.fromkeys(names)) == admitted()


@pytest.mark.parametrize(("size", "bucket"), [("auto", ONE), ("96x160", TALL)])
def test_a_size_finds_its_bucket(size: str, bucket: Bucket) -> None:
    assert admitted(size=size).bucket == bucket


@pytest.mark.parametrize(
    ("quality", "steps"), [("auto", 22), ("low", 15), ("medium", 30), ("standard", 30), ("high", 50), ("hd", 50)]
)
def test_quality_is_a_number_of_steps(quality: str, steps: int) -> None:
    assert admitted(quality=quality).steps == steps


def test_quality_and_steps_may_agree_and_auto_never_collides() -> None:
    assert admitted(quality="high", num_inference_steps=50).steps == 50
    assert admitted(quality="auto", num_inference_steps=9).steps == 9


def test_quality_and_steps_that_disagree_are_refused_with_both() -> None:
    error = refused(quality="high", num_inference_steps=9)
    assert (error.param, error.status) == ("quality", 400)
    assert "50" in error.message
    assert "9" in error.message


def test_another_model_is_not_found_and_the_right_one_is_named() -> None:
    error = refused(model="dall-e-3")
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "'studio'" in error.message


def test_a_size_outside_the_table_is_refused_with_the_nearest() -> None:
    error = refused(size="90x150")
    assert error.param == "size"
    assert "96x160, 128x128" in error.message


@pytest.mark.parametrize("size", ["large", "1024", "1024x", "x" * 500])
def test_what_is_no_size_is_refused_with_all_sizes(size: str) -> None:
    error = refused(size=size)
    assert error.param == "size"
    assert "'auto' or one of 128x128, 96x160" in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_too_many_tokens_are_refused_with_their_number(field: str) -> None:
    assert admitted(**{field: "one two three four five"}).steps == 22
    error = refused(**{field: "one two three four five six"})
    assert error.param == field
    assert "8 tokens" in error.message
    assert "at most 7" in error.message


def test_compression_has_no_meaning_for_png() -> None:
    assert refused(output_compression=50).param == "output_compression"
    assert refused(output_compression=50, output_format="png").param == "output_compression"
    assert admitted(output_compression=100, output_format="png").n == 1
    assert admitted(output_compression=50, output_format="webp").n == 1


def test_each_picture_has_its_own_seed() -> None:
    assert [admitted(seed=10, n=3).seed_of(i) for i in range(3)] == [10, 11, 12]
    assert admitted(seed=LARGEST_SEED, n=2).seed_of(1) == 0


def test_a_long_value_is_shortened() -> None:
    assert shorten("short") == "'short'"
    assert len(shorten("x" * 10_000)) == 60
