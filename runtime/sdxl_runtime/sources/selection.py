"""Which files of a repository are fetched: those that the layout's rules load, found before any weight is loaded.

The rules are kept once, in `layout`: they are asked about a skeleton, a folder with the repository's names in which
only the few JSON files that the rules read have their content.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from sdxl_runtime.layout import adapter, folder
from sdxl_runtime.settings import ModelContent
from sdxl_runtime.sources.repository import RemoteFile, Repository, is_safe
from sdxl_runtime.termination import Failure, Reason

Wanted = dict[str, RemoteFile]
"""What is fetched, by its name in the model's folder."""

Read = Callable[[str, RemoteFile], Path]
"""Fetches a small file by its name, and says where it is."""

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"})
"""What loading may execute; none of it is ever fetched."""


def select(
    repository: Repository, listed: Sequence[RemoteFile], variant: str, content: ModelContent, read: Read
) -> Wanted:
    """The files of a pipeline's or refiner's variant, or the one of an adapter.

    Raises:
        Failure: `ModelMissing` or `ModelInvalid`, naming the file that is missing and what is there instead.
    """
    safe = [file for file in listed if is_safe(file.path)]
    if content is ModelContent.ADAPTER:
        return _adapter(repository, safe)
    names = _below(repository.path, safe)
    if "model_index.json" not in names:
        raise Failure(
            Reason.MODEL_MISSING, f"{repository.source} has no model_index.json; {_there(names, repository.path)}"
        )
    kind = folder.REFINER if content is ModelContent.REFINER else folder.PIPELINE
    with tempfile.TemporaryDirectory() as place:
        skeleton = Path(place)
        _draw(skeleton, names, kind, read)
        loaded = folder.files(skeleton, variant, kind)
    return {name: names[name] for name in loaded if PurePosixPath(name).suffix not in PICKLES}


def _draw(skeleton: Path, names: Wanted, kind: folder.Kind, read: Read) -> None:
    components = "|".join(kind.models)
    rules_read = re.compile(rf"model_index\.json|({components})/(config\.json|\w+\.safetensors\.index[.\w]*\.json)")
    for name, file in names.items():
        path = skeleton / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(name, file).read_bytes() if rules_read.fullmatch(name) else b"")


def _adapter(repository: Repository, listed: Sequence[RemoteFile]) -> Wanted:
    path = repository.path
    if path.endswith(adapter.SUFFIX):
        found = [file for file in listed if file.path == path]
    else:
        found = [file for file in listed if _parent(file.path) == path and file.path.endswith(adapter.SUFFIX)]
    if len(found) == 1:
        return {PurePosixPath(found[0].path).name: found[0]}
    if not found:
        is_file = path.endswith(adapter.SUFFIX)
        folder_of = _parent(path) if is_file else path
        missing = PurePosixPath(path).name if is_file else f"{adapter.SUFFIX} file"
        there = _there(_below(folder_of, listed), folder_of)
        raise Failure(Reason.MODEL_MISSING, f"{repository.source} has no {missing}; {there}")
    several = ", ".join(file.path for file in found[:12])
    raise Failure(
        Reason.MODEL_INVALID,
        f"{repository.source} has {len(found)} {adapter.SUFFIX} files, {several}; name the one that is meant as "
        f"{repository.source.split('://')[0]}://{repository.id}/{found[0].path}",
    )


def _below(path: str, listed: Sequence[RemoteFile]) -> Wanted:
    prefix = f"{path}/" if path else ""
    return {file.path.removeprefix(prefix): file for file in listed if file.path.startswith(prefix)}


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _there(names: Wanted, path: str) -> str:
    """What a folder of the repository holds, as the end of a sentence."""
    top = sorted({f"{name.split('/')[0]}/" if "/" in name else name for name in names})
    shown = ", ".join(top[:12]) + (f" and {len(top) - 12} more" if len(top) > 12 else "")
    where = f"{path} holds" if path else "it holds"
    return f"{where} {shown or 'nothing'}"
