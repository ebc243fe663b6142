"""An AOTInductor package called through its C interface, so that Python's other threads run meanwhile.

torch's own loader keeps the interpreter's lock for the whole of a call: while a step ran, no probe, no rejection and no
event of a stream got through. The package's library has a stable C interface (`aoti_runtime/interface.h`), and
ctypes lets go of the lock around each call.
"""

import ctypes
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

_HANDLE = ctypes.c_void_p
_PROXIES = b"aoti_torch_proxy_executor_call_function"
"""In a wrapper whose graph calls operators by way of torch's loader, which only that can run."""

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer_in = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_in.restype = ctypes.c_void_p
_pointer_in.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Entry(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("handle", _HANDLE)]


class Package:
    """A package bound to tensors that stay their owner's; one thread calls it at a time.

    Raises:
        RuntimeError: it is no package, calls operators that need torch's loader, or the library refuses.
    """

    def __init__(self, path: Path) -> None:
        self._library = _load(path)
        self._container = _HANDLE()
        self._check("AOTInductorModelContainerCreateWithDevice", ctypes.byref(self._container), 1, b"cpu", None)
        self._outputs = self._count("AOTInductorModelContainerGetNumOutputs")
        self._kept: list[Any] = []

    def constants(self) -> Mapping[str, str]:
        """Of each tensor that it needs: its name in the module → its name in the package."""
        found = {}
        for index in range(self._count("AOTInductorModelContainerGetNumConstants")):
            inner = self._text("AOTInductorModelContainerGetConstantName", index)
            found[self._text("AOTInductorModelContainerGetConstantOriginalFQN", index)] = inner
        return found

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Use these tensors as its constants, by their names in the package; a change in place reaches it."""
        entries = (_Entry * len(tensors))()
        for entry, (name, tensor) in zip(entries, tensors.items(), strict=True):
            entry.name, entry.handle = name.encode(), _handle(tensor)
        self._kept = [entries, dict(tensors)]  # the package only borrows them
        bind = "AOTInductorModelContainerUpdateUserManagedConstantBufferPairs"
        self._check(bind, self._container, entries, len(entries), False, True)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """One call; its only output. Other threads of Python run meanwhile."""
        given = (_HANDLE * len(inputs))(*(_handle(tensor) for tensor in inputs))  # which the call takes over
        taken = (_HANDLE * self._outputs)()
        run = "AOTInductorModelContainerRun"
        self._check(run, self._container, given, len(inputs), taken, self._outputs, None, None)
        return next(_tensor(handle or 0) for handle in taken)

    def _check(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise RuntimeError(f"{function} failed with {code}; torch says why in the log")

    def _count(self, function: str) -> int:
        found = ctypes.c_size_t()
        self._check(function, self._container, ctypes.byref(found))
        return found.value

    def _text(self, function: str, index: int) -> str:
        found = ctypes.c_char_p()
        self._check(function, self._container, index, ctypes.byref(found))
        return (found.value or b"").decode()


def _load(path: Path) -> ctypes.CDLL:
    """The package's library; its file may go once it is loaded."""
    if not zipfile.is_zipfile(path):
        raise RuntimeError(f"{path.name} is no package")
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="sdxl-package-") as folder:
        libraries = [name for name in archive.namelist() if name.endswith(".wrapper.so")]
        sources = [name for name in archive.namelist() if name.endswith(".wrapper.cpp")]
        if len(libraries) != 1 or len(sources) != 1 or _PROXIES in archive.read(sources[0]):
            raise RuntimeError(f"{path.name} cannot be called through its C interface")
        library = ctypes.CDLL(archive.extract(libraries[0], folder))
    arguments: dict[str, Sequence[Any]] = {
        "AOTInductorModelContainerCreateWithDevice": [
            ctypes.POINTER(_HANDLE),
            ctypes.c_size_t,
            ctypes.c_char_p,
            ctypes.c_char_p,
        ],
        "AOTInductorModelContainerGetNumOutputs": [_HANDLE, ctypes.POINTER(ctypes.c_size_t)],
        "AOTInductorModelContainerGetNumConstants": [_HANDLE, ctypes.POINTER(ctypes.c_size_t)],
        "AOTInductorModelContainerGetConstantName": [_HANDLE, ctypes.c_size_t, ctypes.POINTER(ctypes.c_char_p)],
        "AOTInductorModelContainerGetConstantOriginalFQN": [
            _HANDLE,
            ctypes.c_size_t,
            ctypes.POINTER(ctypes.c_char_p),
        ],
        "AOTInductorModelContainerUpdateUserManagedConstantBufferPairs": [
            _HANDLE,
            ctypes.POINTER(_Entry),
            ctypes.c_size_t,
            ctypes.c_bool,
            ctypes.c_bool,
        ],
        "AOTInductorModelContainerRun": [
            _HANDLE,
            ctypes.POINTER(_HANDLE),
            ctypes.c_size_t,
            ctypes.POINTER(_HANDLE),
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ],
    }
    for name, types in arguments.items():
        if not hasattr(library, name):
            raise RuntimeError(f"{path.name} has no {name}: another torch made it")
        getattr(library, name).argtypes = types
        getattr(library, name).restype = ctypes.c_int32
    return library


def _handle(tensor: torch.Tensor) -> int:
    """A new handle of a tensor, to be given away."""
    (capsule,) = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors([tensor])
    return int(_pointer_in(capsule, None))


def _tensor(handle: int) -> torch.Tensor:
    """The tensor of a handle, which is used up."""
    found: torch.Tensor = torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr(_new_capsule(handle, None, None))
    return found
