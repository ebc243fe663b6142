"""OpenTelemetry traces, when an endpoint is configured by OpenTelemetry's own variables. Prompts are never in them."""

import time
from collections.abc import Mapping

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from sdxl_runtime import __version__
from sdxl_runtime.protocol import Details

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PHASES = ("queue", "encode", "denoise", "decode", "encode_image")
"""In the order in which a picture goes through them; each becomes a span of its own."""


def configured_provider(environment: Mapping[str, str], model: str) -> TracerProvider | None:
    """Where spans go, over OTLP and HTTP; None where no endpoint is configured or the SDK is disabled."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    resource = Resource.create({"service.name": "sdxl-runtime", "service.version": __version__, "sdxl.model": model})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def instrument(app: FastAPI, provider: trace.TracerProvider) -> None:
    """A span for every request of an application, under the caller's trace if it names one."""
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, exclude_spans=["receive", "send"])


def record(provider: trace.TracerProvider, images: int, details: Details) -> None:
    """The phases of finished pictures as spans under the request's.

    Turns of other requests lie between a request's own: a phase's span begins where the one before ended and lasts as
    long as was measured for it.
    """
    tracer = provider.get_tracer("sdxl_runtime", __version__)
    ended = time.time_ns()
    began = ended - round(details.seconds["total"] * 1e9)
    attributes: dict[str, str | int | float] = {
        "sdxl.bucket": details.bucket,
        "sdxl.backend": details.backend,
        "sdxl.scheduler": details.scheduler,
        "sdxl.steps": details.num_inference_steps,
        "sdxl.images": images,
        "sdxl.evaluations.executed": details.evaluations.executed,
        "sdxl.evaluations.nominal": details.evaluations.nominal,
    }
    with tracer.start_as_current_span("paint", start_time=began, end_on_exit=False, attributes=attributes) as span:
        for phase in PHASES:
            seconds = round(details.seconds.get(phase, 0) * 1e9)
            tracer.start_span(phase, start_time=began).end(began + seconds)
            began += seconds
        span.end(ended)
