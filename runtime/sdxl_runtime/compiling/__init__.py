"""The Job that fills the tune bank: compile each bucket, measure it, compare it with eager, keep or drop, publish.

What is published stays: a Job that is stopped at any instant goes on where it was, and only staging is lost.
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdxl_runtime.bank import Bank, Entry, Missing, State, Why, identity
from sdxl_runtime.bank.store import recorded
from sdxl_runtime.buckets import Bucket
from sdxl_runtime.compiling.history import History
from sdxl_runtime.compiling.result import Maker, SimulatedMaker
from sdxl_runtime.compiling.writer import Writer
from sdxl_runtime.device import Device, open_device
from sdxl_runtime.progress import Progress, served
from sdxl_runtime.reference import read
from sdxl_runtime.settings import Backend, CompileMode, Settings, SettingsError
from sdxl_runtime.termination import Failure, classify, run

log = logging.getLogger(__name__)

JOB_PATIENCE_SECONDS = 300
"""How long a Job waits for another writer; the operator starts it again after a pause."""


def main(settings: Settings) -> int:
    """Run the Job with `/progress` on the internal port; returns the exit code of docs/contract.md."""
    progress = Progress()
    with served(progress, settings.host, settings.internal_port):
        return run(settings.termination_log, lambda: fill(settings, progress))


def fill(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Make what the bank lacks for the declared buckets; returns the termination message.

    Raises:
        SettingsError: there is nothing to compile, or nowhere to put it.
        Failure: a classified failure, with the bucket it happened in.
    """
    if settings.bank_path is None:
        raise SettingsError("SDXL_BANK_PATH is empty; compile needs the tune bank's folder")
    if not settings.buckets:
        raise SettingsError("SDXL_BUCKETS is empty; compile needs the buckets to make")
    if settings.compile_mode is CompileMode.EAGER:
        raise SettingsError("SDXL_COMPILE_MODE is Eager, which compiles nothing; it must be AheadOfTime")
    device = open_device(settings)
    name, fields = identity(settings, device)
    bank = Bank(settings.bank_path, name)
    progress.stage("WaitingForLock")
    # a replica's init container has nothing else to do than to wait until another replica's has filled the bank
    patience = JOB_PATIENCE_SECONDS if settings.bank_compiled is None else math.inf
    with bank.lock(f"compile for identity {name}", progress.waits_for, patience) as held:
        swept = bank.sweep()
        if swept:
            log.info("removed %d staging folders that interrupted writers left", swept)
        writer = Writer(settings, bank, held, fields, progress)
        maker: Maker = (
            SimulatedMaker(settings.simulated_compile_seconds)
            if settings.backend is Backend.SIMULATED
            else _real_maker(settings, device)
        )
        history = History.of_bank(bank.root, name)
        entries = [_settle(writer, maker, history, index) for index in range(len(settings.buckets))]
    if settings.bank_compiled is not None:
        _tell_server(settings.bank_compiled, name, entries)
    return {
        "identity": name,
        "entries": [entry.manifest.summary(entry.digest) for entry in entries],
        "seconds": round(progress.seconds),
    }


def _tell_server(path: Path, identity: str, entries: Sequence[Entry]) -> None:
    """Leave the digests of what was kept for the server that starts after this container, in the same pod."""
    digests = {entry.manifest.bucket.key: entry.digest for entry in entries if entry.manifest.state is State.KEPT}
    path.write_text(json.dumps({"identity": identity, "digests": digests}, sort_keys=True))


def _settle(writer: Writer, maker: Maker, history: History, index: int) -> Entry:
    """The bucket's entry: the published one where it still decides the question, else a new one."""
    buckets = writer.settings.buckets
    bucket, left = buckets[index], [other for other in buckets[index:] if not _seems_settled(writer, other)]
    writer.progress.begin(bucket.key, index + 1, len(buckets), history.outlook(bucket, left))
    writer.progress.stage("Verifying")
    present = writer.bank.entry(bucket)
    if isinstance(present, Entry) and writer.still_right(present.manifest):
        wrong = _wrong(writer, maker, bucket, present)
        if not wrong:
            log.info("%s is already in the bank: %s", bucket.key, present.manifest.state)
            return present
        log.warning("made again: %s: %s", bucket.key, wrong)
    if isinstance(present, Missing) and present.reason is Why.CORRUPT:
        log.warning("made again: %s", present.why)
        writer.progress.expect(history.outlook(bucket, list(dict.fromkeys([bucket, *left]))))
    try:
        with writer.bank.staging(bucket) as folder:
            entry = writer.publish(folder, bucket, maker.make(bucket, folder, writer.progress))
    except Exception as error:
        raise classify(error, bucket.key) from error
    history.add(entry.manifest)
    return entry


def _seems_settled(writer: Writer, bucket: Bucket) -> bool:
    """Whether a published entry decides the question, if its files are what its manifest says."""
    present = recorded(writer.bank.folder / bucket.key)
    return isinstance(present, Entry) and writer.still_right(present.manifest)


def _wrong(writer: Writer, maker: Maker, bucket: Bucket, entry: Entry) -> str:
    """Why an entry that replicas dispute, whole as it is, does not do here either; empty where it does."""
    recorded = entry.manifest.reference
    if bucket.key not in writer.settings.bank_disputed or not recorded:
        return ""
    writer.progress.stage("Comparing")
    try:
        reference = read(entry.folder, recorded, entry.manifest.tolerance)
        found = maker.compare(bucket, entry.folder, reference)
    except Failure:
        raise
    except Exception as error:  # a package can fail in any way
        return f"it does not run: {error}"
    return f"its picture differs by {found}" if found.exceeds(reference.tolerance) else ""


def _real_maker(settings: Settings, device: Device) -> Maker:
    from sdxl_runtime.compiling.maker import RealMaker  # torch, which the simulated backend does without

    return RealMaker(settings, device)
