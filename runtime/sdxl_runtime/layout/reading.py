"""Reading a model's folder: required files and JSON, with errors that say what is there instead."""

import json
from pathlib import Path
from typing import Any

from sdxl_runtime.termination import Failure, Reason


def required(folder: Path, name: str) -> str:
    """`name`, if it is a file of `folder`.

    Raises:
        Failure: `ModelInvalid`, with what is there instead.
    """
    if not (folder / name).is_file():
        raise invalid(f"{name} is missing; {there((folder / name).parent)}")
    return name


def there(folder: Path) -> str:
    """What a folder holds, as the end of a sentence."""
    if not folder.is_dir():
        return f"the folder {folder.name} is not there"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"there is {shown}" if names else f"{folder.name} is empty"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        Failure: `ModelInvalid`, naming the file and what is wrong with it.
    """
    try:
        content = json.loads((folder / name).read_bytes())
    except (OSError, ValueError) as error:
        raise invalid(f"{name} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise invalid(f"{name} is not a JSON object")
    return content


def invalid(sentence: str) -> Failure:
    """The failure of a model that is there and wrong."""
    return Failure(Reason.MODEL_INVALID, sentence)
