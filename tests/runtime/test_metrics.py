"""The text of /metrics, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from sdxl_runtime.buckets import Bucket
from sdxl_runtime.health import Outcome
from sdxl_runtime.metrics import OUTCOMES, Metrics


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_everything_that_happened_is_counted() -> None:
    metrics = Metrics("CPU")
    metrics.requested(200)
    metrics.requested(200)
    metrics.requested(429)
    metrics.evaluated("128x128b4", 3, 4, 0.05)
    metrics.previewed(0.001)
    metrics.switched(0.2)
    metrics.finished(Bucket(128, 128, 4), 3, 60, {"queue": 0.25, "denoise": 2.0})
    metrics.warmed("128x128b4", "Eager", 12.5)
    metrics.compared("128x128b4", "Differs")
    metrics.compared("128x128b4", "Passed")
    found = samples(metrics.render(7.5, 2, 1))
    assert found["sdxl_requests_total", (("code", "200"),)] == 2
    assert found["sdxl_requests_total", (("code", "429"),)] == 1
    assert found["sdxl_evaluations_executed_total", ()] == 3
    assert found["sdxl_rows_used_total", (("bucket", "128x128b4"),)] == 3
    assert found["sdxl_rows_total", (("bucket", "128x128b4"),)] == 4
    assert found["sdxl_step_seconds_sum", (("bucket", "128x128b4"),)] == 0.05
    assert found["sdxl_preview_seconds_count", ()] == found["sdxl_adapter_switch_seconds_count", ()] == 1
    assert found["sdxl_pixels_total", ()] == 3 * 128 * 128
    assert found["sdxl_evaluations_nominal_total", ()] == 60
    assert found["sdxl_images_total", (("bucket", "128x128b4"),)] == 3
    assert found["sdxl_request_seconds_sum", (("phase", "denoise"),)] == 2
    assert found["sdxl_request_seconds_count", (("phase", "queue"),)] == 1
    assert found["sdxl_queue_seconds", ()] == 7.5
    assert (found["sdxl_requests_waiting", ()], found["sdxl_requests_in_flight", ()]) == (2, 1)
    assert found["sdxl_bucket_step_milliseconds", (("backend", "Eager"), ("bucket", "128x128b4"))] == 12.5
    outcomes = {dict(labels)["outcome"]: value for (name, labels), value in found.items() if "picture_check" in name}
    assert outcomes == {"Passed": 1, "Differs": 0, "Skipped": 0}
    assert ("sdxl_runtime_info", (("backend", "CPU"), ("version", "0.1.0"))) in found


def test_the_outcomes_of_the_picture_check_are_those_of_readyz() -> None:
    assert set(OUTCOMES) == set(Outcome)


def test_two_processes_worth_of_metrics_do_not_share_counters() -> None:
    Metrics("CPU").requested(200)
    assert not any(name == "sdxl_requests_total" for name, _ in samples(Metrics("CPU").render(0, 0, 0)))


def test_every_name_begins_with_the_product() -> None:
    assert {name[:5] for name, _ in samples(Metrics("CPU").render(0, 0, 0))} == {"sdxl_"}
