"""`hf://<owner>/<repository>[/<path>]`: the Hugging Face Hub or a mirror of it (HF_ENDPOINT), by its own client."""

import os

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, and not in its __all__

from sdxl_runtime import __version__
from sdxl_runtime.progress import Progress
from sdxl_runtime.settings import Settings
from sdxl_runtime.sources.download import download
from sdxl_runtime.sources.repository import Checksum, RemoteFile, Repository
from sdxl_runtime.sources.retrying import (
    LIST,
    PATIENCE,
    Patience,
    Transient,
    judge,
    no_repository,
    no_revision,
    unauthorized,
    unreadable,
)
from sdxl_runtime.sources.tokens import read_tokens

_US = "sdxl-runtime"


def fetch(settings: Settings, progress: Progress, patience: Patience = PATIENCE) -> None:
    """Bring the files of a repository at its commit to `settings.model_path`, whole or not at all.

    Raises:
        SettingsError: no repository, no commit, or no token where one should be.
        Failure: classified, with what to do.
    """
    repository = Repository.of(settings)
    tokens = read_tokens(settings.model_token_path)
    download([HuggingFace(repository, token, patience) for token in tokens], settings, progress, patience)


class HuggingFace:
    """A repository of the Hugging Face Hub. Without a token, HF_TOKEN is the client's own default."""

    def __init__(self, repository: Repository, token: str | None, patience: Patience) -> None:
        self.repository = repository
        self._timeout = patience.timeout
        self._endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._api = HfApi(endpoint=self._endpoint, token=token, library_name=_US, library_version=__version__)
        self._headers = build_hf_headers(token=token, library_name=_US, library_version=__version__)

    @property
    def authenticated(self) -> bool:
        """Whether a token is sent."""
        return "authorization" in self._headers

    @property
    def page(self) -> str:
        """The repository's page."""
        return f"{self._endpoint}/{self.repository.id}"

    def list_files(self) -> list[RemoteFile]:
        """See `Hub`."""
        try:
            return self._files(self._info())
        except (ValueError, KeyError, TypeError) as error:
            raise unreadable(self, str(error)) from error

    def request(self, path: str) -> tuple[str, dict[str, str]]:
        """See `Hub`."""
        revision = self.repository.revision
        return hf_hub_url(self.repository.id, path, revision=revision, endpoint=self._endpoint), self._headers

    def _info(self) -> ModelInfo:
        try:
            return self._api.model_info(
                self.repository.id, revision=self.repository.revision, files_metadata=True, timeout=self._timeout
            )
        except GatedRepoError as error:
            raise unauthorized(self, LIST, gated=True) from error
        except RepositoryNotFoundError as error:
            raise no_repository(self) from error
        except RevisionNotFoundError as error:
            raise no_revision(self) from error
        except HfHubHTTPError as error:
            judge(self, LIST, error.response.status_code, error.response.headers)
            raise Transient(f"the hub answered {error.response.status_code}") from error
        except httpx2.RequestError as error:
            raise Transient(f"{type(error).__name__} {error}".strip()) from error

    def _files(self, info: ModelInfo) -> list[RemoteFile]:
        if info.sha != self.repository.revision:
            raise unreadable(self, f"it is of the commit {info.sha}")
        return [_remote(sibling) for sibling in info.siblings or []]


def _remote(sibling: RepoSibling) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, int(sibling.lfs.size), Checksum.SHA256, str(sibling.lfs.sha256))
    if sibling.size is None or sibling.blob_id is None:
        raise ValueError(f"{sibling.rfilename} has no size or no checksum")
    return RemoteFile(sibling.rfilename, int(sibling.size), Checksum.GIT, sibling.blob_id)
