"""From a well-formed request to a job; malformed ones are in test_errors. Tokens are words here."""

from typing import Any

import pytest
from PIL import Image

from sdxl_runtime.admission import Offer, RequestError, job_from, shorten
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.jobs import LARGEST_SEED, Adapter, Job, MicroConditioning, Start
from sdxl_runtime.protocol import GenerationRequest
from sdxl_runtime.settings import Settings

ONE, FOUR, TALL, LONG = Bucket(128, 128), Bucket(128, 128, 4), Bucket(96, 160), Bucket(96, 160, 2, 154)
SETTINGS = Settings(
    model_name="studio",
    buckets=(ONE, FOUR, TALL, LONG),
    default_steps=22,
    default_guidance_scale=6.5,
    default_scheduler="UniPC",
)
OFFER = Offer(lambda text: len(text.split()) + 2, ("outline", "pixel"), refines=False)


def admitted(offer: Offer = OFFER, start: Start | None = None, **members: Any) -> Job:
    request = GenerationRequest.model_validate({"prompt": "a red circle", **members})
    return job_from(request, SETTINGS, offer, lambda: 4711, start)


def refused(**members: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        admitted(**members)
    return error.value


def test_the_services_defaults_fill_what_a_request_leaves_out() -> None:
    assert admitted() == Job("a red circle", None, (ONE, FOUR), 1, 4711, 22, 6.5, "UniPC")


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
    assert job == Job("a red circle", "", (ONE, FOUR), 4, 5, 7, 0.0, "DDIM")


def test_null_is_the_same_as_absent() -> None:
    names = ("model", "n", "size", "quality", "seed", "negative_prompt", "scheduler", "background", "stream", "style")
    assert admitted(**dict.fromkeys(names)) == admitted()


@pytest.mark.parametrize(("size", "buckets"), [("auto", (ONE, FOUR)), ("96x160", (TALL, LONG))])
def test_a_size_finds_its_buckets(size: str, buckets: tuple[Bucket, ...]) -> None:
    assert admitted(size=size).buckets == buckets


def test_a_batch_that_is_named_leaves_one_bucket() -> None:
    assert admitted(batch=4).buckets == (FOUR,)
    error = refused(batch=3)
    assert error.param == "batch"
    assert "1, 4" in error.message


def test_another_size_is_snapped_when_asked() -> None:
    assert admitted(size="90x150", snap=True).buckets == (TALL, LONG)


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


@pytest.mark.parametrize("field", ["prompt", "negative_prompt", "prompt_2", "negative_prompt_2"])
def test_too_many_tokens_are_refused_with_their_number(field: str) -> None:
    assert admitted(**{field: "word " * 75}).steps == 22
    error = refused(**{field: "word " * 76})
    assert error.param == field
    assert "78 tokens" in error.message
    assert "at most 77" in error.message


def test_a_long_prompt_goes_to_the_bucket_that_attends_to_as_many_tokens() -> None:
    assert admitted(size="96x160", prompt="word " * 76).buckets == (LONG,)
    assert admitted(size="96x160", prompt="word " * 150).buckets == (LONG,)
    assert "at most 152" in refused(size="96x160", prompt="word " * 151).message


def test_micro_conditioning_is_height_first_as_in_diffusers() -> None:
    job = admitted(
        original_size="2048x1024",
        crop=[10, 20],
        target_size="640x480",
        negative_original_size="512x256",
        negative_crop=[1, 2],
        negative_target_size="128x64",
    )
    assert job.micro == MicroConditioning((1024, 2048), (10, 20), (480, 640), (256, 512), (1, 2), (64, 128))


def test_micro_conditioning_that_would_be_ignored_is_refused() -> None:
    assert refused(negative_original_size="64x64").param == "negative_target_size"
    assert refused(negative_target_size="64x64").param == "negative_original_size"
    assert refused(negative_crop=[0, 0]).param == "negative_crop"
    assert refused(original_size="big").param == "original_size"


def test_adapters_are_a_key_whatever_their_order_and_those_of_no_weight_are_left_out() -> None:
    one, two = {"name": "pixel", "scale": 0.5}, {"name": "outline"}
    assert admitted(adapters=[one, two]).adapters == (Adapter("outline", 1.0), Adapter("pixel", 0.5))
    assert admitted(adapters=[one, two]).adapters == admitted(adapters=[two, one]).adapters
    assert admitted(adapters=[{"name": "pixel", "scale": 0}]).adapters == ()


def test_an_adapter_that_is_not_served_is_refused_with_those_that_are() -> None:
    error = refused(adapters=[{"name": "oil"}])
    assert error.param == "adapters"
    assert "outline, pixel" in error.message
    assert "twice" in refused(adapters=[{"name": "pixel"}, {"name": "pixel"}]).message


def test_the_refiner_takes_part_where_there_is_one_unless_told_not_to() -> None:
    with_refiner = Offer(OFFER.count_tokens, (), refines=True)
    assert [admitted(with_refiner, refiner=value).refine for value in (None, True, False)] == [True, True, False]
    assert admitted().refine is False
    assert refused(refiner=True).param == "refiner"


def test_an_edit_needs_a_step_to_take() -> None:
    picture = Image.new("RGB", (128, 128))
    assert admitted(start=Start(picture, 0.5), num_inference_steps=2).steps_taken == 1
    with pytest.raises(RequestError) as error:
        admitted(start=Start(picture, 0.05), num_inference_steps=10)
    assert error.value.param == "strength"
    assert "at least 0.1" in error.value.message


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
