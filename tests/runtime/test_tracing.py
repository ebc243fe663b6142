"""Traces: a request's span under its caller's, a span for each phase, never a prompt; nothing without an endpoint."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sdxl_runtime.app import create_public_app, tracing
from tests.runtime.simulated_service import started

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[tuple[TestClient, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with started() as service:
        yield TestClient(create_public_app(replace(service, tracer_provider=provider))), exporter
    provider.shutdown()


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_a_span_under_its_callers_with_its_phases(
    spans: tuple[TestClient, InMemorySpanExporter], stream: bool
) -> None:
    client, exporter = spans
    body = {"prompt": "a very private prompt", "num_inference_steps": 3, "stream": stream}
    answer = client.post("/v1/images/generations", json=body, headers={"traceparent": CALLER})
    assert answer.status_code == 200
    found = named(exporter)
    request, paint = found["POST /v1/images/generations"], found["paint"]
    assert format(request.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert paint.parent is not None
    assert paint.parent.span_id == request.context.span_id
    assert paint.attributes is not None
    assert paint.attributes["sdxl.evaluations.executed"] == 3
    for phase in tracing.PHASES:
        assert found[phase].parent == paint.context
    began = [found[phase].start_time for phase in tracing.PHASES]
    assert began == sorted(began)  # type: ignore[type-var]
    assert "private" not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_without_an_endpoint_there_are_no_traces() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
    assert tracing.configured_provider({}, "studio") is None
    assert tracing.configured_provider({**endpoint, "OTEL_SDK_DISABLED": "true"}, "studio") is None
    provider = tracing.configured_provider(endpoint, "studio")
    assert provider is not None
    assert provider.resource.attributes["sdxl.model"] == "studio"
    provider.shutdown()
