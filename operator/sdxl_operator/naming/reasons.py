"""The types of conditions, every reason that one can have, and a sentence for each."""

from collections.abc import Mapping
from enum import StrEnum


class Condition(StrEnum):
    """The types of conditions. `Ready` is the summary; `Reconciling` and `Stalled` are present only while true."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    MODEL_READY = "ModelReady"
    BANK_READY = "BankReady"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    UPDATE_AVAILABLE = "UpdateAvailable"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Every reason a condition can have. The sentence of each is in `REASONS`."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    PROFILE_INVALID = "ProfileInvalid"
    PROFILE_NOT_ALLOWED = "ProfileNotAllowed"
    ACCELERATOR_COUNT_INVALID = "AcceleratorCountInvalid"
    BUCKET_NOT_DIVISIBLE = "BucketNotDivisible"
    ADAPTER_RANK_TOO_HIGH = "AdapterRankTooHigh"
    SPEC_INVALID = "SpecInvalid"
    CHILD_REFUSED = "ChildRefused"
    NAME_TAKEN = "NameTaken"
    WAITING_FOR_MODEL = "WaitingForModel"
    WAITING_FOR_BANK = "WaitingForBank"
    FETCHING = "Fetching"
    MODEL_PRESENT = "ModelPresent"
    MODEL_INVALID = "ModelInvalid"
    MODEL_MISSING = "ModelMissing"
    FETCH_FAILED = "FetchFailed"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNAUTHORIZED = "SourceUnauthorized"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    CHECKSUM_MISMATCH = "ChecksumMismatch"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    SECRET_NOT_FOUND = "SecretNotFound"
    VOLUME_NOT_PROVISIONED = "VolumeNotProvisioned"
    VOLUME_PENDING = "VolumePending"
    VOLUME_FULL = "VolumeFull"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    POD_STARTING = "PodStarting"
    OUT_OF_MEMORY = "OutOfMemory"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BANK_LOCKED = "BankLocked"
    WAITING_FOR_ACCELERATOR = "WaitingForAccelerator"
    COMPILING = "Compiling"
    COMPILE_FAILED = "CompileFailed"
    COMPILED = "Compiled"
    BANK_NOT_FOUND = "BankNotFound"
    BANK_DIFFERS = "BankDiffers"
    REGISTRY_NOT_ALLOWED = "RegistryNotAllowed"
    IMPORTING = "Importing"
    IMPORT_FAILED = "ImportFailed"
    IMPORTED = "Imported"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    REGISTRY_DENIED = "RegistryDenied"
    ARTIFACT_MISSING = "ArtifactMissing"
    ARTIFACT_INVALID = "ArtifactInvalid"
    SIGNATURE_INVALID = "SignatureInvalid"
    MISSING = "Missing"
    STALE = "Stale"
    CORRUPT = "Corrupt"
    PICTURE_DIFFERS = "PictureDiffers"
    NOT_NEEDED = "NotNeeded"
    LOADING = "Loading"
    CRASHING = "Crashing"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    MINIMUM_AVAILABLE = "MinimumAvailable"
    REPLICAS_MISSING = "ReplicasMissing"
    ROLLING_OUT = "RollingOut"
    ROLLED_OUT = "RolledOut"
    ROLLED_BACK = "RolledBack"
    ACCELERATOR_LENT = "AcceleratorLent"
    SCALED_TO_ZERO = "ScaledToZero"
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    NEWER_TEMPLATE = "NewerTemplate"
    UNUSED = "Unused"


REASONS: Mapping[Reason, str] = {
    Reason.READY: "Everything that was asked for is there.",
    Reason.ACCEPTED: "The spec can be carried out.",
    Reason.PROFILE_NOT_FOUND: "spec.accelerator.profile names no AcceleratorProfile; the message lists them.",
    Reason.PROFILE_INVALID: "The AcceleratorProfile cannot be used; the message names the field to correct.",
    Reason.PROFILE_NOT_ALLOWED: "The AcceleratorProfile's allowedNamespaces leave this namespace out.",
    Reason.ACCELERATOR_COUNT_INVALID: "spec.accelerator.count asks for more than the profile's resource can give.",
    Reason.BUCKET_NOT_DIVISIBLE: "A bucket's size does not divide by what the model needs; the message has the next.",
    Reason.ADAPTER_RANK_TOO_HIGH: "An adapter's rank is higher than its maximumRank; raise that, or name another file.",
    Reason.SPEC_INVALID: "The stored spec does not fit this operator; the message names the field.",
    Reason.CHILD_REFUSED: "The API server refused an object made for this one; the message is the server's own.",
    Reason.NAME_TAKEN: "An object of the needed name exists and was not made for this one; rename one of them.",
    Reason.WAITING_FOR_MODEL: "The model, its refiner or an adapter is not on its volume yet.",
    Reason.WAITING_FOR_BANK: "The tune bank does not have every declared bucket yet.",
    Reason.FETCHING: "The fetch Job is at work.",
    Reason.MODEL_PRESENT: "The files are on their volumes and were checked.",
    Reason.MODEL_INVALID: "The files are not what the runtime can load as that; the message names what is wrong.",
    Reason.MODEL_MISSING: "There is nothing at the path that a source of spec.model names.",
    Reason.FETCH_FAILED: "The fetch Job failed; it is tried again after a pause.",
    Reason.SOURCE_NOT_FOUND: "The hub has no such repository, commit or file, or shows it only to a token that may.",
    Reason.SOURCE_UNAUTHORIZED: "The hub asks for a token, or for another: accept the licence, set tokenSecretRef.",
    Reason.SOURCE_UNAVAILABLE: "The hub does not answer as it should; what was loaded is kept, and it is tried again.",
    Reason.CHECKSUM_MISMATCH: "A file is not what the hub lists, also when loaded anew; a mirror may be damaged.",
    Reason.CLAIM_NOT_FOUND: "The PersistentVolumeClaim that a volume names does not exist in this namespace.",
    Reason.SECRET_NOT_FOUND: "A Secret that a pod mounts, or its key, is not in this namespace; the message names it.",
    Reason.VOLUME_NOT_PROVISIONED: "The storage class refused the volume; the message is the provisioner's own.",
    Reason.VOLUME_PENDING: "The volume is being provisioned.",
    Reason.VOLUME_FULL: "No space is left on the volume; give it more, and the Job is tried again.",
    Reason.IMAGE_PULL_FAILED: "The kubelet cannot pull the image; the message is the kubelet's own.",
    Reason.UNSCHEDULABLE: "The scheduler finds no node for a pod; the message is the scheduler's own.",
    Reason.CONTAINER_NOT_STARTED: "The kubelet cannot start a container; the message is the kubelet's own.",
    Reason.POD_STARTING: "A pod is on its way: scheduled, pulling or starting.",
    Reason.OUT_OF_MEMORY: "The kernel ended the container for memory; the message says which limit to raise.",
    Reason.DEADLINE_EXCEEDED: "The Job ran longer than its deadline; the message says which field sets it.",
    Reason.BANK_LOCKED: "Another writer holds the tune bank; the message says which.",
    Reason.WAITING_FOR_ACCELERATOR: "No accelerator is free for the compile Job; the message says what is done.",
    Reason.COMPILING: "The compile Job is at work.",
    Reason.COMPILE_FAILED: "The compile Job failed; it is tried again after a pause.",
    Reason.COMPILED: "Every declared bucket was compiled, measured and compared.",
    Reason.BANK_NOT_FOUND: "spec.tuneBank.bankRef names no SDXLTuneBank of this namespace.",
    Reason.BANK_DIFFERS: "The SDXLTuneBank that is named was made for something else; the message names the fields.",
    Reason.REGISTRY_NOT_ALLOWED: "The AcceleratorProfile's bankRegistries leave out where tuneBank.from is.",
    Reason.IMPORTING: "The import Job is at work.",
    Reason.IMPORT_FAILED: "The import Job failed; it is tried again after a pause.",
    Reason.IMPORTED: "Every declared bucket is in the imported bank.",
    Reason.REGISTRY_UNAVAILABLE: "The registry does not answer, or with an error of its own; it is asked again.",
    Reason.REGISTRY_DENIED: "The registry refuses; the message is its own. Pull Secrets are its credentials.",
    Reason.ARTIFACT_MISSING: "There is no artefact at tuneBank.from.",
    Reason.ARTIFACT_INVALID: "The artefact is damaged or no tune bank; the message says in what.",
    Reason.SIGNATURE_INVALID: "The artefact is not signed by a key of the AcceleratorProfile's bankPublicKey.",
    Reason.MISSING: "Declared buckets have no entry that replicas can find, and run uncompiled; the message says why.",
    Reason.STALE: "The bank was made for another chip, driver or version, and is not loaded; the message says which.",
    Reason.CORRUPT: "An entry of the bank is damaged; replicas run the bucket uncompiled, and it is made again.",
    Reason.PICTURE_DIFFERS: "A replica paints other pictures than its bank recorded; the message has the figures.",
    Reason.NOT_NEEDED: "spec.compile.mode is Eager: nothing is compiled.",
    Reason.LOADING: "Replicas load the model and run every bucket once.",
    Reason.CRASHING: "A replica's container keeps ending; the message is its last word.",
    Reason.PROGRESS_DEADLINE_EXCEEDED: "No replica became ready within rollout.progressDeadlineSeconds.",
    Reason.MINIMUM_AVAILABLE: "At least one replica answers.",
    Reason.REPLICAS_MISSING: "Fewer replicas are ready than were asked for.",
    Reason.ROLLING_OUT: "Replicas of the updated revision replace the others.",
    Reason.ROLLED_OUT: "All replicas are of the updated revision and ready.",
    Reason.ROLLED_BACK: "A new revision did not become ready and was taken back; the one before it serves.",
    Reason.ACCELERATOR_LENT: "A replica is down to lend its accelerator to the compile Job, and comes back afterwards.",
    Reason.SCALED_TO_ZERO: "No replica is asked for.",
    Reason.SUSPENDED: "spec.suspend is true.",
    Reason.PAUSED: "The annotation sdxl.dev/paused is true: nothing is applied until it is removed.",
    Reason.NEWER_TEMPLATE: "This operator or profile would make other pods than the stored revision has.",
    Reason.UNUSED: "No service uses it.",
}
