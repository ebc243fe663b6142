"""The wire models against the installed `openai` package: what it may send is known here, what it reads is sent."""

from typing import Any, get_args, get_type_hints

import pytest
from openai.types import (
    Image,
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
    ImagesResponse,
)
from openai.types.image_edit_params import ImageEditParamsBase, ImageEditParamsStreaming
from openai.types.image_generate_params import ImageGenerateParamsBase, ImageGenerateParamsStreaming
from pydantic import ValidationError

from sdxl_runtime.protocol import (
    QUALITY_STEPS,
    CompletedEvent,
    Details,
    EditRequest,
    Evaluations,
    GenerationRequest,
    GenerationResponse,
    ImageData,
    PartialEvent,
    Usage,
    UsageDetails,
)

EXTENSIONS = {
    *("negative_prompt", "prompt_2", "negative_prompt_2", "seed", "num_inference_steps", "guidance_scale", "scheduler"),
    *("batch", "snap", "adapters", "refiner", "progress"),
    *("original_size", "crop", "target_size"),
    *("negative_original_size", "negative_crop", "negative_target_size"),
}
EDITS = get_type_hints(ImageEditParamsBase) | get_type_hints(ImageEditParamsStreaming)
OPENAI = get_type_hints(ImageGenerateParamsBase) | get_type_hints(ImageGenerateParamsStreaming)


USAGE = Usage(input_tokens=5, input_tokens_details=UsageDetails(text_tokens=5), total_tokens=5)


def literals(annotation: Any) -> set[str]:
    """The texts that an annotation allows, however nested."""
    if isinstance(annotation, str):
        return {annotation}
    return {text for inner in get_args(annotation) for text in literals(inner)}


def a_response() -> GenerationResponse:
    details = Details(
        bucket="128x128b1",
        backend="Eager",
        identity="0" * 16,
        scheduler="Euler",
        num_inference_steps=20,
        guidance_scale=5.0,
        evaluations=Evaluations(executed=20, nominal=20),
        seconds={"total": 1.5},
    )
    data = [ImageData(b64_json="aGVsbG8=", seed=3)]
    return GenerationResponse(
        created=1,
        data=data,
        output_format="png",
        quality="low",
        size="128x128",
        sdxl=details,
        safety_identifier="me",
        usage=USAGE,
    )


def test_every_field_of_openai_is_known_and_the_rest_are_our_extensions() -> None:
    assert set(GenerationRequest.model_fields) == set(OPENAI) | EXTENSIONS
    # what only one of OpenAI's two requests has is refused by name in both
    assert set(EditRequest.model_fields) == set(OPENAI) | set(EDITS) | EXTENSIONS | {"strength"}


def test_every_field_says_what_it_does() -> None:
    assert [name for name, field in EditRequest.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("field", ["quality", "output_format"])
def test_no_value_is_accepted_that_openai_does_not_have(field: str) -> None:
    ours = literals(GenerationRequest.model_fields[field].annotation)
    assert ours
    assert ours <= literals(OPENAI[field])


def test_every_quality_but_auto_is_a_number_of_steps() -> None:
    assert set(QUALITY_STEPS) == literals(GenerationRequest.model_fields["quality"].annotation) - {"auto"}
    assert QUALITY_STEPS["low"] < QUALITY_STEPS["medium"] < QUALITY_STEPS["high"]


def test_openai_reads_the_response() -> None:
    read = ImagesResponse.model_validate(a_response().model_dump(exclude_none=True), strict=True)
    assert read.data == [Image.model_validate({"b64_json": "aGVsbG8=", "seed": 3})]
    assert (read.created, read.size, read.quality, read.output_format) == (1, "128x128", "low", "png")
    assert (read.background, read.safety_identifier) == ("opaque", "me")


def test_openai_reads_the_events() -> None:
    common = {"b64_json": "aGVsbG8=", "created_at": 1, "output_format": "png", "quality": "auto", "size": "128x128"}
    for kind, partial, completed in (
        ("image_generation", ImageGenPartialImageEvent, ImageGenCompletedEvent),
        ("image_edit", ImageEditPartialImageEvent, ImageEditCompletedEvent),
    ):
        preview = PartialEvent(type=f"{kind}.partial_image", partial_image_index=2, **common)
        assert partial.model_validate(preview.model_dump(exclude_none=True), strict=True).partial_image_index == 2
        details = a_response().sdxl
        end = CompletedEvent(type=f"{kind}.completed", usage=USAGE, seed=3, sdxl=details, **common)
        assert completed.model_validate(end.model_dump(exclude_none=True), strict=True).usage.total_tokens == 5


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"stream": True, "n": 2}, "n"),
        ({"partial_images": 1}, "partial_images"),
        ({"progress": True}, "progress"),
        ({"stream": True, "response_format": "url"}, "response_format"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as error:
        GenerationRequest.model_validate({"prompt": "x", **members})
    assert error.value.errors()[0]["ctx"]["param"] == param


@pytest.mark.parametrize("value", ["yes", 1, "false", []])
def test_nothing_is_converted(value: Any) -> None:
    with pytest.raises(ValidationError):
        GenerationRequest.model_validate({"prompt": "x", "stream": value})


def test_a_request_cannot_be_changed() -> None:
    request = GenerationRequest(prompt="x")
    with pytest.raises(ValidationError):
        request.prompt = "y"  # type: ignore[misc]
