"""`pvc://claim/path`: what is on a volume already. Nothing is copied; the operator mounted the claim."""

from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import ModelContent, Settings
from sdxl_runtime.termination import Failure, Reason


def fetch(settings: Settings, progress: Progress) -> None:
    """See that the folder is there; an adapter may be a file as well.

    Raises:
        Failure: `ModelMissing`, naming what the claim holds instead.
    """
    progress.stage("Looking")
    folder = settings.model_path
    adapter = settings.model_content is ModelContent.ADAPTER
    if folder.is_dir() or (adapter and folder.is_file()):
        return
    parent = next((parent for parent in folder.parents if parent.is_dir()), folder)
    there = sorted(path.name for path in parent.iterdir() if not path.name.startswith("."))[:12]
    wanted = "file or folder" if adapter else "folder"
    raise Failure(
        Reason.MODEL_MISSING,
        f"{settings.model_source} has no such {wanted}; {parent} holds {', '.join(there) if there else 'nothing'}",
    )
