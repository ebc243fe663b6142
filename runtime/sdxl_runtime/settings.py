"""What the environment tells the runtime; names and meanings are in docs/contract.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sdxl_runtime.buckets import Bucket


class Backend(StrEnum):
    """The family of accelerator a process runs on."""

    NPU = "NPU"
    CUDA = "CUDA"
    CPU = "CPU"
    SIMULATED = "Simulated"


class Precision(StrEnum):
    """The number format of weights and activations; `Auto` lets the device choose."""

    AUTO = "Auto"
    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"


class CompileMode(StrEnum):
    """How a bucket's UNet is made: as diffusers runs it, or compiled ahead into the tune bank."""

    EAGER = "Eager"
    AHEAD_OF_TIME = "AheadOfTime"


class PictureCheck(StrEnum):
    """Whether a bucket's picture is compared with its entry's reference before it counts as ready."""

    AUTO = "Auto"
    DISABLED = "Disabled"


class SimulatedDifference(StrEnum):
    """Which buckets of the backend `Simulated` paint other pictures than their entries were recorded with."""

    NONE = "None"
    COMPILED = "Compiled"
    ALL = "All"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A LoRA that requests may name: a `.safetensors` file, or a folder with exactly one."""

    name: str
    path: Path
    maximum_rank: int = 64


class ModelContent(StrEnum):
    """What a model's volume holds: a whole pipeline, a refiner, or a LoRA."""

    PIPELINE = "Pipeline"
    REFINER = "Refiner"
    ADAPTER = "Adapter"


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names the variable, its value and what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Validated settings of one process. Times are seconds."""

    backend: Backend = Backend.CPU
    """Which device file is opened."""
    model_path: Path = Path("/models")
    """The folder with `model_index.json`."""
    model_name: str = "sdxl"
    """The id that `/v1/models` lists."""
    model_digest: str = ""
    """`sha256:…` as `fetch` measured it; empty: measured from the files."""
    model_source: str = ""
    """Where `fetch` takes the model from, e.g. `demo://shapes`."""
    model_revision: str = ""
    """The commit of a hub's repository that `fetch` takes."""
    model_token_path: Path | None = None
    """A file with a hub's token, or a folder of such files, which are tried one after the other; None: no token."""
    model_content: ModelContent = ModelContent.PIPELINE
    """Which layout `fetch` checks and measures."""
    model_variant: str = ""
    """Which weight files are taken, e.g. `fp16`; empty: those without a variant."""
    buckets: tuple[Bucket, ...] = ()
    """The declared table of shapes."""
    adapters: tuple[AdapterFile, ...] = ()
    """The LoRAs that requests may name."""
    refiner_path: Path | None = None
    """The refiner's folder; None: there is none."""
    refiner_variant: str = ""
    """As `model_variant`."""
    refiner_start_percent: int = 80
    """The share of the noise schedule that is the base model's."""
    precision: Precision = Precision.AUTO
    """The number format asked for."""
    compile_mode: CompileMode = CompileMode.EAGER
    """What `compile` makes and `serve` looks for in the bank."""
    minimum_speedup_percent: int = 102
    """A compiled bucket is kept from this speed on; eager is 100."""
    simulated_milliseconds: float = 20
    """What an evaluation takes per picture of the batch with the backend `Simulated`."""
    simulated_compile_seconds: float = 1
    """How long `compile` takes for a bucket with the backend `Simulated`."""
    simulated_fail_after: int = 0
    """After so many evaluations the backend `Simulated` fails for good; 0: never."""
    simulated_picture_differs: SimulatedDifference = SimulatedDifference.NONE
    """Which buckets of the backend `Simulated` paint other pictures than was recorded: those with an entry, or all."""
    simulated_chip: str = "Simulated"
    """The chip that the backend `Simulated` claims to be; a simulated card's device plugin sets it."""
    simulated_driver: str = ""
    """The driver that the backend `Simulated` claims to have; a simulated card's device plugin sets it."""
    bank_path: Path | None = None
    """The root of the tune bank."""
    bank_compiled: Path | None = None
    """Where `compile` leaves the digests of what it kept, and `serve` of the same pod finds them: accepted as well."""
    bank_disputed: tuple[str, ...] = ()
    """The keys of entries that replicas could not run as they should: `compile` compares their pictures once more."""
    bank_accepted: Path | None = None
    """The file that lists the digests `serve` may load."""
    picture_check: PictureCheck = PictureCheck.AUTO
    """Whether a bucket's picture must be its entry's reference before it is ready; Auto: where the entry has one."""
    bank_name: str = ""
    """The SDXLTuneBank in use, named by what is known outside; empty: there is none."""
    bank_spec: str = ""
    """Its spec as JSON, which the name is a hash of."""
    bank_from: str = ""
    """The artefact that `bank import` imports, e.g. `oci://host/repository@sha256:…`."""
    bank_public_key: str = ""
    """Public keys in PEM, one of which must have signed what is imported; empty: no signature is asked for."""
    registry_config: Path | None = None
    """Credentials for registries: a file like Docker's config.json, or a folder of such files."""
    registry_plain_http: bool = False
    """Whether registries that are not on this machine may be asked without TLS."""
    queue_limit_seconds: float = 120
    """Admission ends where this much work waits."""
    request_timeout_seconds: float = 300
    """A request's time from acceptance, waiting included."""
    drain_timeout_seconds: float = 420
    """How long accepted work may take once a drain has ended admission."""
    default_steps: int = 30
    """Denoising steps of a request that names none."""
    default_guidance_scale: float = 5.0
    """Guidance scale of a request that names none."""
    default_scheduler: str = "Euler"
    """Scheduler of a request that names none."""
    api_keys_path: Path | None = None
    """A file with API keys, or a folder of such files; None: no keys are asked for."""
    signing_key_path: Path | None = None
    """The file with the secret that signs ids and URLs; None: drawn at start."""
    advertised_host: str = ""
    """Where other replicas reach this one's internal port; empty: they do not."""
    log_prompts: bool = False
    """Whether prompts appear in the log."""
    recycle_after_requests: int = 0
    """After so many answered requests the process drains and ends; 0: never."""
    host: str = "0.0.0.0"
    """Address of both ports."""
    port: int = 8000
    """The public API."""
    internal_port: int = 8001
    """Health, metrics and progress."""
    termination_log: Path = Path("/dev/termination-log")
    """Where `fetch` and `compile` leave their result."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the `SDXL_…` variables.

        Raises:
            SettingsError: a value cannot be read; the message names the variable, its value and what would be right.
        """
        read = _Reader(environment)
        return cls(
            backend=Backend(read.choice("SDXL_BACKEND", Backend, Backend.CPU)),
            model_path=Path(read.text("SDXL_MODEL_PATH", "/models")),
            model_name=read.text("SDXL_MODEL_NAME", "sdxl"),
            model_digest=read.text("SDXL_MODEL_DIGEST", ""),
            model_source=read.text("SDXL_MODEL_SOURCE", ""),
            model_revision=read.text("SDXL_MODEL_REVISION", ""),
            model_token_path=read.path("SDXL_MODEL_TOKEN_PATH"),
            model_content=ModelContent(read.choice("SDXL_MODEL_CONTENT", ModelContent, ModelContent.PIPELINE)),
            model_variant=read.text("SDXL_MODEL_VARIANT", ""),
            buckets=read.buckets("SDXL_BUCKETS"),
            adapters=read.adapters("SDXL_ADAPTERS"),
            refiner_path=read.path("SDXL_REFINER_PATH"),
            refiner_variant=read.text("SDXL_REFINER_VARIANT", ""),
            refiner_start_percent=int(read.number("SDXL_REFINER_START_PERCENT", 80)),
            precision=Precision(read.choice("SDXL_PRECISION", Precision, Precision.AUTO)),
            compile_mode=CompileMode(read.choice("SDXL_COMPILE_MODE", CompileMode, CompileMode.EAGER)),
            minimum_speedup_percent=int(read.number("SDXL_MINIMUM_SPEEDUP_PERCENT", 102)),
            simulated_milliseconds=read.number("SDXL_SIMULATED_MILLISECONDS", 20),
            simulated_compile_seconds=read.number("SDXL_SIMULATED_COMPILE_SECONDS", 1),
            simulated_fail_after=int(read.number("SDXL_SIMULATED_FAIL_AFTER", 0)),
            simulated_picture_differs=SimulatedDifference(
                read.choice("SDXL_SIMULATED_PICTURE_DIFFERS", SimulatedDifference, SimulatedDifference.NONE)
            ),
            simulated_chip=read.text("SDXL_SIMULATED_CHIP", "Simulated"),
            simulated_driver=read.text("SDXL_SIMULATED_DRIVER", ""),
            bank_path=read.path("SDXL_BANK_PATH"),
            bank_accepted=read.path("SDXL_BANK_ACCEPTED"),
            bank_disputed=tuple(filter(None, read.text("SDXL_BANK_DISPUTED", "").split(","))),
            bank_compiled=read.path("SDXL_BANK_COMPILED"),
            picture_check=PictureCheck(read.choice("SDXL_PICTURE_CHECK", PictureCheck, PictureCheck.AUTO)),
            bank_name=read.text("SDXL_BANK_NAME", ""),
            bank_spec=read.text("SDXL_BANK_SPEC", ""),
            bank_from=read.text("SDXL_BANK_FROM", ""),
            bank_public_key=read.text("SDXL_BANK_PUBLIC_KEY", ""),
            registry_config=read.path("SDXL_REGISTRY_CONFIG"),
            registry_plain_http=read.flag("SDXL_REGISTRY_PLAIN_HTTP"),
            queue_limit_seconds=read.number("SDXL_QUEUE_LIMIT_SECONDS", 120),
            request_timeout_seconds=read.number("SDXL_REQUEST_TIMEOUT_SECONDS", 300),
            drain_timeout_seconds=read.number("SDXL_DRAIN_TIMEOUT_SECONDS", 420),
            default_steps=int(read.number("SDXL_DEFAULT_STEPS", 30)),
            default_guidance_scale=read.number("SDXL_DEFAULT_GUIDANCE_SCALE", 5.0),
            default_scheduler=read.text("SDXL_DEFAULT_SCHEDULER", "Euler"),
            api_keys_path=read.path("SDXL_API_KEYS_PATH"),
            signing_key_path=read.path("SDXL_SIGNING_KEY_PATH"),
            advertised_host=read.text("SDXL_ADVERTISED_HOST", ""),
            log_prompts=read.flag("SDXL_LOG_PROMPTS"),
            recycle_after_requests=int(read.number("SDXL_RECYCLE_AFTER_REQUESTS", 0)),
            host=read.text("SDXL_HOST", "0.0.0.0"),
            port=int(read.number("SDXL_PORT", 8000)),
            internal_port=int(read.number("SDXL_INTERNAL_PORT", 8001)),
            termination_log=Path(read.text("SDXL_TERMINATION_LOG", "/dev/termination-log")),
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    environment: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        return self.environment.get(name, default)

    def path(self, name: str) -> Path | None:
        value = self.environment.get(name, "")
        return Path(value) if value else None

    def choice(self, name: str, choices: type[StrEnum], default: str) -> str:
        value = self.environment.get(name, default)
        if value not in {str(choice) for choice in choices}:
            raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.environment.get(name, "")
        try:
            number = float(value) if value else float(default)
        except ValueError:
            raise SettingsError(f"{name} is {value!r}; it must be a number") from None
        if not number >= 0 or number == float("inf"):
            raise SettingsError(f"{name} is {value!r}; it must be a number that is not negative")
        return number

    def flag(self, name: str) -> bool:
        value = self.environment.get(name, "") or "false"
        if value not in ("true", "false"):
            raise SettingsError(f"{name} is {value!r}; it must be true or false")
        return value == "true"

    def adapters(self, name: str) -> tuple[AdapterFile, ...]:
        value = self.environment.get(name, "")
        try:
            items = json.loads(value or "[]")
            found = tuple(AdapterFile(str(i["name"]), Path(i["path"]), int(i.get("maximumRank", 64))) for i in items)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise SettingsError(
                f'{name} is {value!r}; it must be JSON like [{{"name":"pixel","path":"/adapters/pixel"}}]: {error}'
            ) from None
        if len({adapter.name for adapter in found}) != len(found):
            raise SettingsError(f"{name} names an adapter twice: {', '.join(adapter.name for adapter in found)}")
        return found

    def buckets(self, name: str) -> tuple[Bucket, ...]:
        value = self.environment.get(name, "")
        if not value:
            return ()
        try:
            buckets = tuple(Bucket.from_json(item) for item in json.loads(value))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise SettingsError(
                f'{name} is {value!r}; it must be JSON like [{{"width":1024,"height":1024,"batch":1}}]: {error}'
            ) from None
        if len({bucket.key for bucket in buckets}) != len(buckets):
            raise SettingsError(f"{name} names a bucket twice: {', '.join(bucket.key for bucket in buckets)}")
        return buckets
