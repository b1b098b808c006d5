"""Where published files come from: a mirror or folder, PhysioNet's open bucket, PhysioNet itself."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from store.errors import UserError

if TYPE_CHECKING:
    import httpx

BUCKET = "https://physionet-open.s3.amazonaws.com"  # open to all: no credentials, and byte ranges
PHYSIONET = "https://physionet.org/files"
USER_AGENT = "ecgprep (https://pypi.org/project/ecgprep)"
BUSY = {408, 425, 429, 500, 502, 503, 504}


class SourceError(Exception):
    """A source does not have a file, or does not give it; another one may."""


class UnreachableError(SourceError):
    """A source does not answer, for this file or any other."""


class TryAgainError(Exception):
    """A transfer stopped half-way; it may go on."""


class NotNowError(TryAgainError):
    """A source is too busy, whatever it is asked for.

    Parameters
    ----------
    reason : str
        What happened.
    wait_s : float
        How long the source asks to be left alone.
    """

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class NoConnectionError(NotNowError):
    """A source cannot be reached."""


class StoppedError(Exception):
    """The whole download is ending."""


@dataclass(frozen=True)
class Patience:
    """How long a transfer waits and how often it tries.

    Parameters
    ----------
    connect_s, read_s : float
        Time-outs for a connection, and for its next bytes.
    min_bytes_per_s : float
        A connection that is slower over `read_s` is given up.
    attempts : int
        Tries that bring nothing new, one after the other, before a source is given up.
    first_wait_s, longest_wait_s : float
        The wait doubles from the first to the longest.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    min_bytes_per_s: float = 1000.0
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0


class Source(Protocol):
    """A place that has a database's files."""

    name: str

    def receive(self, path: str, partial: Path, stop: threading.Event) -> None:
        """Bring the bytes of a published file into `partial`, going on where it ends if that can be done.

        Raises
        ------
        SourceError
            If the source does not have the file.
        TryAgainError
            If the transfer stopped half-way.
        StoppedError
            If `stop` was set.
        """


class FolderSource:
    """A folder that holds the database's files: a mounted mirror, or an earlier download.

    Parameters
    ----------
    folder : Path
        The database's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def receive(self, path: str, partial: Path, stop: threading.Event) -> None:
        """Copy the file; see `Source`."""
        if stop.is_set():
            raise StoppedError
        if not (self.folder / path).is_file():
            raise SourceError("has no such file" if self.folder.is_dir() else "is not there")
        shutil.copyfile(self.folder / path, partial)


class HttpSource:
    """A web server or bucket that gives files by their path below a URL.

    Parameters
    ----------
    url : str
        The database's own folder.
    client : httpx.Client
        Connections, shared by all transfers.
    patience : Patience
        When to give up.
    """

    def __init__(self, url: str, client: httpx.Client, patience: Patience) -> None:
        self.name = url.rstrip("/")
        self.client = client
        self.patience = patience

    def receive(self, path: str, partial: Path, stop: threading.Event) -> None:
        """Ask for the bytes that are missing; see `Source`."""
        from urllib.parse import quote

        import httpx

        have = partial.stat().st_size if partial.is_file() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with self.client.stream("GET", f"{self.name}/{quote(path)}", headers=headers) as got:
                self._check_status(got, partial)
                self._save(got, partial, have, stop)
        except httpx.ConnectError as error:
            raise NoConnectionError(f"cannot be reached ({_said(error)})") from error
        except httpx.ConnectTimeout as error:
            raise NoConnectionError(f"does not answer within {self.patience.connect_s:g} s") from error
        except httpx.TransportError as error:
            raise TryAgainError(f"the connection broke ({_said(error)})") from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise SourceError(f"does not give it ({_said(error)})") from error

    def _check_status(self, response: httpx.Response, partial: Path) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == 416:  # what is here is no part of what is there
            partial.unlink(missing_ok=True)
            raise TryAgainError("answers that the range is too far")
        if status in BUSY:
            raise NotNowError(f"answers {status}", _retry_after_s(response))
        raise SourceError(f"answers {status}")

    def _save(self, response: httpx.Response, partial: Path, have: int, stop: threading.Event) -> None:
        """Write the body behind what is here, or over it where the server begins anew."""
        if response.status_code == 206 and _first_byte(response) != have:
            partial.unlink(missing_ok=True)
            raise TryAgainError("answers with another range than was asked for")
        with partial.open("ab" if response.status_code == 206 else "wb") as file:
            for chunk in self._paced(response.iter_raw(), stop):
                file.write(chunk)
                file.flush()  # what has come is there for the next call, even if this one is killed

    def _paced(self, chunks: Iterator[bytes], stop: threading.Event) -> Iterator[bytes]:
        """Pass chunks on while they come fast enough."""
        since, received = time.monotonic(), 0
        for chunk in chunks:
            if stop.is_set():
                raise StoppedError
            yield chunk
            received += len(chunk)
            if (passed := time.monotonic() - since) >= self.patience.read_s:
                if received < passed * self.patience.min_bytes_per_s:
                    raise TryAgainError(f"sends {received / passed:.0f} bytes a second")
                since, received = time.monotonic(), 0


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _first_byte(response: httpx.Response) -> int | None:
    """Return where the body begins in the file, by its Content-Range; None where that is no range."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0].strip()
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _retry_after_s(response: httpx.Response) -> float:
    """Return the wait that a server asks for, in seconds or as a date; 0 for none."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max((until - datetime.now(UTC)).total_seconds(), 0.0) if until.tzinfo else 0.0


def open_client(patience: Patience, connections: int) -> httpx.Client:
    """Return the connections that a download shares."""
    import httpx

    return httpx.Client(
        timeout=httpx.Timeout(patience.read_s, connect=patience.connect_s, pool=None),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        follow_redirects=True,
        headers={"User-Agent": USER_AGENT},
    )


def find_sources(
    published_path: str, folder: str, mirror: str | None, offline: bool, client: httpx.Client, patience: Patience
) -> list[Source]:
    """Return the sources of one database in the order in which they are asked.

    Parameters
    ----------
    published_path : str
        PhysioNet's name and version, such as ``mitdb/1.0.0``.
    folder : str
        Name of the database's folder.
    mirror : str or None
        A URL or folder with PhysioNet's ``name/version`` below it; or a folder that holds the database's, or is it.
    offline : bool
        Leave PhysioNet and its bucket out.
    client : httpx.Client
        Connections.
    patience : Patience
        When to give up.

    Raises
    ------
    UserError
        If the mirror is neither a folder nor a URL.
    """
    sources: list[Source] = []
    if mirror is not None and mirror.startswith(("http://", "https://")):
        sources.append(HttpSource(_joined(mirror, published_path), client, patience))
    elif mirror is not None:
        root = Path(mirror)
        if not root.is_dir():
            raise UserError(f"--from {mirror}: is neither a folder nor an http:// or https:// address")
        places = [root / published_path, root / folder] + ([root] if root.resolve().name == folder else [])
        sources += [FolderSource(place) for place in places if place.is_dir()]
    if not offline:
        sources += [HttpSource(f"{base}/{published_path}", client, patience) for base in (BUCKET, PHYSIONET)]
    return sources


def _joined(mirror: str, published_path: str) -> str:
    base = mirror.rstrip("/")
    return base if base.endswith(f"/{published_path}") else f"{base}/{published_path}"
