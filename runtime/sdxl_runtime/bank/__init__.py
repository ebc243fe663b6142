"""The tune bank: what was compiled, for which chip and versions, how fast it measured, published whole or not at all.

`identity` says what an artefact depends on, `manifest` what an entry holds, `store` how it gets onto the volume and
back; `artifact`, `exporting` and `importing` move a bank, `commands` is `sdxl-runtime bank`.
Layout: `<root>/<identity>/<bucket>/{manifest.json, unet.pt2, …}`, see docs/contract.md. No torch here.
"""

from sdxl_runtime.bank.identity import identify_main, identity
from sdxl_runtime.bank.manifest import FORMAT, Manifest, ManifestError, State, file_records
from sdxl_runtime.bank.store import Bank, Entry, Missing, Why, accepted_entry, manifest_path

__all__ = [
    "FORMAT",
    "Bank",
    "Entry",
    "Manifest",
    "ManifestError",
    "Missing",
    "State",
    "Why",
    "accepted_entry",
    "file_records",
    "identify_main",
    "identity",
    "manifest_path",
]
