"""`modelscope://<owner>/<repository>[/<path>]`: ModelScope or a mirror of it (MODELSCOPE_ENDPOINT), by its own client.

The client is `modelscope-hub`, which `modelscope` itself builds on: the library around it brings what runs models.
"""

import logging
import os

import requests
from modelscope_hub import (
    APIError,
    AuthenticationError,
    FileInfo,
    HubApi,
    HubConfig,
    HubError,
    NotExistError,
    PermissionDeniedError,
)

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
    unauthorized,
    unreadable,
)
from sdxl_runtime.sources.tokens import read_tokens

_client_log = logging.getLogger("modelscope_hub")
_client_log.handlers.clear()  # the client puts up its own, with lines that are not JSON
_client_log.propagate = True
_client_log.setLevel(logging.WARNING)


def fetch(settings: Settings, progress: Progress, patience: Patience = PATIENCE) -> None:
    """Bring the files of a repository at its commit to `settings.model_path`, whole or not at all.

    Raises:
        SettingsError: no repository, no commit, or no token where one should be.
        Failure: classified, with what to do.
    """
    repository = Repository.of(settings)
    tokens = read_tokens(settings.model_token_path)
    download([ModelScope(repository, token) for token in tokens], settings, progress, patience)


class ModelScope:
    """A repository of ModelScope. Without a token, MODELSCOPE_API_TOKEN is the client's own default."""

    def __init__(self, repository: Repository, token: str | None) -> None:
        self.repository = repository
        # the older variable still works; left to the client, it would end in a warning
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or None
        config = HubConfig(endpoint=endpoint, token=token)
        self._token, self._endpoint = config.token, str(config.endpoint)
        self._api = HubApi(config, user_agent={"sdxl-runtime": __version__})

    @property
    def authenticated(self) -> bool:
        """Whether a token is sent."""
        return bool(self._token)

    @property
    def page(self) -> str:
        """The repository's page."""
        return f"{self._endpoint}/models/{self.repository.id}"

    def list_files(self) -> list[RemoteFile]:
        """See `Hub`."""
        try:
            found = self._api.list_repo_files(self.repository.id, "model", revision=self.repository.revision)
            return [_remote(item) for item in found if not item.is_dir]
        except (AuthenticationError, PermissionDeniedError) as error:
            raise unauthorized(self, LIST) from error
        except NotExistError as error:
            raise no_repository(self, f" with the commit {self.repository.revision}") from error
        except HubError as error:
            raise self._other(error) from error
        except requests.RequestException as error:
            raise Transient(type(error).__name__) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise unreadable(self, str(error)) from error

    def request(self, path: str) -> tuple[str, dict[str, str]]:
        """See `Hub`. Like the client, it sends the token both ways, as older endpoints know the cookie only."""
        url = self._api.legacy.get_download_url(self.repository.id, "model", path, self.repository.revision)
        headers = {"User-Agent": f"sdxl-runtime/{__version__}"}
        if self._token:
            headers |= {"Authorization": f"Bearer {self._token}", "Cookie": f"m_session_id={self._token}"}
        return url, headers

    def _other(self, error: HubError) -> Exception:
        status = error.status_code if isinstance(error, APIError) else None
        if error.retryable:
            said = type(error).__name__ if status is None else f"the hub answered {status}"
            return Transient(said, getattr(error, "retry_after", None))
        if status is not None:
            judge(self, LIST, status, {})
        return unreadable(self, type(error).__name__)


def _remote(item: FileInfo) -> RemoteFile:
    if not item.sha256:
        raise ValueError(f"{item.path} has no checksum")
    return RemoteFile(item.path, item.size, Checksum.SHA256, item.sha256.lower())
