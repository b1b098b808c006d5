"""Where a store is written: a folder, or a URL of any file system that fsspec knows.

Both hold files by name and show a file only when it is whole. A folder can also be renamed; at a URL a store is
filled in its place, and only its manifest makes it one.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from store.errors import EcgError, ResourceError, UserError
from store.files import sync_file, sync_folder, write_whole
from store.manifest import MANIFEST_NAME, file_digest

SCRATCH, PLAN_NAME = ".scratch-", "plan.sha256"
BLOCK_BYTES = 1 << 22


class Place(ABC):
    """A folder of files by name, with forward slashes.

    Parameters
    ----------
    location : str
        Its path or URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rstrip("/").replace("\\", "/").rpartition("/")[2]

    def beside(self, name: str) -> Place:
        """Return the place of another name in the same parent."""
        return place_at(f"{self.location.rstrip('/')[: -len(self.name)]}{name}")

    @abstractmethod
    def building_site(self) -> Place:
        """Return where a store that is to be published here is built."""

    @property
    @abstractmethod
    def is_taken(self) -> bool:
        """Whether something that was published, whole or damaged, is here."""

    @abstractmethod
    def read_text(self, name: str) -> str:
        """Return a file's text; raise FileNotFoundError if there is none."""

    @abstractmethod
    def write_text(self, name: str, text: str) -> None:
        """Write a text file so that the old one or the new one is here, never a part."""

    @abstractmethod
    def claim(self, name: str, text: str) -> None:
        """Write a text file that keeps other builds away where no lock does; raise FileExistsError if one is here."""

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """Move a finished local file here; when this returns it is safe."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""

    @abstractmethod
    def files(self, below: str = "") -> list[str]:
        """Return the names of all files, or of those below a folder, sorted."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file; raise FileNotFoundError if there is none."""

    @abstractmethod
    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """Return the files that are gone, or are known not to hold what was put."""

    @abstractmethod
    def remove(self, below: str) -> None:
        """Remove a file, or all below a folder, if there is any."""

    @abstractmethod
    def take(self, other: Place, names: Iterable[str]) -> None:
        """Make files of another place of the same kind files of this one."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what writes that were stopped have left."""

    @abstractmethod
    def discard(self) -> None:
        """Remove everything, what makes others believe in it first."""

    @abstractmethod
    def retire(self) -> None:
        """Remove what was published here; a stop in between leaves nothing here, or nothing that is published."""

    @abstractmethod
    def clear_retired(self) -> None:
        """Remove what `retire` has left where it was stopped."""

    @abstractmethod
    def renew(self, name: str) -> None:
        """Make a file younger than all others."""

    @abstractmethod
    def workshop(self) -> Any:
        """Return a context with a local folder whose files are all here when it ends well."""

    @abstractmethod
    def scratch(self) -> Any:
        """Return a context with a local folder whose files can be put here; it is gone when it ends."""

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of several files by name."""
        wanted = list(names)
        with ThreadPoolExecutor() as pool:
            return dict(zip(wanted, pool.map(self.digest, wanted), strict=True))


class Folder(Place):
    """A place on a local disk."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.path = Path(location)

    def building_site(self) -> Place:
        """Return a hidden folder beside this one; see `Place`."""
        return self.beside(f".building-{self.name}")

    @property
    def is_taken(self) -> bool:
        """Whether the folder is there; see `Place`."""
        return self.path.exists()

    def read_text(self, name: str) -> str:
        """Return a file's text; see `Place`."""
        return (self.path / name).read_text(encoding="utf-8")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file aside and rename it; see `Place`."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / name, text)

    def claim(self, name: str, text: str) -> None:
        """Do nothing: whoever builds in a folder holds a lock beside it."""

    def put(self, file: Path, name: str) -> None:
        """Sync and rename a file of the same disk; see `Place`."""
        sync_file(file)
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
        sync_folder(target.parent)

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return (self.path / name).is_file()

    def files(self, below: str = "") -> list[str]:
        """Return the names of all files; see `Place`."""
        found = (self.path / below).rglob("*")
        return sorted(path.relative_to(self.path).as_posix() for path in found if path.is_file())

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file; see `Place`."""
        path = self.path / name
        if path.exists() and not path.is_file():  # reading from a pipe would wait for ever
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file_digest(path)

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """Read the files again and return those that are gone or differ."""

        def intact(name: str) -> bool:
            return self.has(name) and self.digest(name) == digests[name]

        with ThreadPoolExecutor() as pool:
            return [name for name, ok in zip(digests, pool.map(intact, digests), strict=True) if not ok]

    def remove(self, below: str) -> None:
        """Remove a file or a folder; see `Place`."""
        if (self.path / below).is_dir():
            shutil.rmtree(self.path / below, ignore_errors=True)
        else:
            (self.path / below).unlink(missing_ok=True)

    def take(self, other: Place, names: Iterable[str]) -> None:
        """Link files of another folder, or copy them where the disk has no links; see `Place`."""
        for name in names:
            source, target = Path(other.location) / name, self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.tmp")
            aside.unlink(missing_ok=True)
            try:
                os.link(source, aside)
            except OSError:
                shutil.copy2(source, aside)
            aside.replace(target)
            aside.unlink(missing_ok=True)  # where both were links to one file already, nothing was renamed

    def sweep(self) -> None:
        """Remove scratch, and half-written files beside their targets; see `Place`."""
        for folder in self.path.glob(f"{SCRATCH}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for pattern in ("*.tmp", "*.partial"):  # store.files.write_whole's, and Zarr's own
            for leftover in self.path.rglob(pattern):
                leftover.unlink()

    def discard(self) -> None:
        """Remove the folder; a stop in between leaves one that nobody takes for whole."""
        for name in (PLAN_NAME, MANIFEST_NAME):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def retire(self) -> None:
        """Rename the folder, then remove it; see `Place`."""
        self.path.rename(self.beside(f".replaced-{self.name}").location)
        self.clear_retired()

    def clear_retired(self) -> None:
        """Remove the renamed folder; see `Place`."""
        self.beside(f".replaced-{self.name}").discard()

    def renew(self, name: str) -> None:
        """Set a file's time of change to now; see `Place`."""
        os.utime(self.path / name)

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """Work in the folder itself; see `Place`."""
        self.path.mkdir(parents=True, exist_ok=True)
        yield self.path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Return a folder below the place, on the same disk; see `Place`."""
        folder = self.path / f"{SCRATCH}{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Bucket(Place):
    """A place at a URL that fsspec can write to, such as ``s3://bucket/stores/x.zarr``.

    An object appears whole or not at all, and the server compares what it receives with a checksum: so nothing is
    renamed or read back here. `store.verify.find_damage` reads all.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location.rstrip("/"))
        import fsspec

        try:
            self.system, self.root = fsspec.core.url_to_fs(self.location, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise UserError(f"{location}: cannot be used as a URL ({error})") from error
        except OSError as error:  # of a file system that connects at once, such as FTP
            raise ResourceError(f"{location}: does not answer ({error})") from error

    def building_site(self) -> Place:
        """Return this place: until the manifest is here nobody reads it; see `Place`."""
        return self

    @property
    def is_taken(self) -> bool:
        """Whether there is a manifest; see `Place`."""
        return self.has(MANIFEST_NAME)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}".rstrip("/")

    def read_text(self, name: str) -> str:
        """Return a file's text; see `Place`."""
        with self._named():
            return bytes(self.system.cat_file(self._path(name))).decode()

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in one request; see `Place`."""
        with self._named(), self._bucket_named():
            self.system.pipe_file(self._path(name), text.encode())

    def claim(self, name: str, text: str) -> None:
        """Write a text file in one request, which the server refuses if there is one; see `Place`."""
        with self._named(), self._bucket_named():
            self.system.pipe_file(self._path(name), text.encode(), mode="create")

    def put(self, file: Path, name: str) -> None:
        """Upload a file; see `Place`."""
        with self._named(), self._bucket_named():
            self.system.put_file(str(file), self._path(name))
        file.unlink()

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        with self._named():
            return bool(self.system.isfile(self._path(name)))

    def files(self, below: str = "") -> list[str]:
        """Return the names of all files; see `Place`."""
        with self._named(), self._bucket_named():
            found = self.system.find(self._path(below))
        return sorted(path.removeprefix(f"{self.root}/") for path in found)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, which is read block by block; see `Place`."""
        import hashlib

        state = hashlib.sha256()
        with self._named(), self.system.open(self._path(name), "rb", block_size=BLOCK_BYTES) as file:
            while block := file.read(BLOCK_BYTES):
                state.update(block)
        return state.hexdigest()

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """Return the files that are gone; see `Place`."""
        here = set(self.files())
        return [name for name in digests if name not in here]

    def remove(self, below: str) -> None:
        """Remove a file, or all below a folder; see `Place`."""
        names = [self._path(name) for name in self.files(below)]
        with self._named():
            if names:
                self.system.rm(names)

    def take(self, other: Place, names: Iterable[str]) -> None:
        """Let the server copy files of another place; see `Place`."""
        assert isinstance(other, Bucket)
        with self._named():
            for name in names:
                self.system.cp_file(other._path(name), self._path(name))

    def sweep(self) -> None:
        """Do nothing: no write leaves a part of a file."""

    def discard(self) -> None:
        """Remove everything, the plan and the manifest first; see `Place`."""
        for name in (PLAN_NAME, MANIFEST_NAME, ""):
            self.remove(name)

    def retire(self) -> None:
        """Remove everything, the manifest first; see `Place`."""
        self.discard()

    def clear_retired(self) -> None:
        """Do nothing: what is left has no manifest, and is removed by whoever builds here next."""

    def renew(self, name: str) -> None:
        """Write a text file again; see `Place`."""
        self.write_text(name, self.read_text(name))

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """Work in a folder of this machine, and upload it; see `Place`."""
        with self.scratch() as folder:
            yield folder
            with self._named(), ThreadPoolExecutor() as pool:
                files = [path for path in folder.rglob("*") if path.is_file()]
                list(pool.map(lambda file: self.put(file, file.relative_to(folder).as_posix()), files))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Return a folder of this machine; see `Place`."""
        with tempfile.TemporaryDirectory(prefix="ecgprep-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def _bucket_named(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:  # of what is written or listed nothing can be absent but the bucket
            raise UserError(f"{self.location}: there is no such bucket; make it first") from error

    def _named(self) -> AbstractContextManager[None]:
        return unanswered_named(self.location)


@contextmanager
def unanswered_named(location: str) -> Iterator[None]:
    """Turn whatever the library of a URL's file system raises into an error that names the URL.

    Parameters
    ----------
    location : str
        The URL.

    Raises
    ------
    FileNotFoundError, FileExistsError
        As they are: callers ask for what may be absent, or may be there.
    UserError
        If access is refused, or the place is of a kind that cannot be written to.
    ResourceError
        If it does not answer.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, EcgError):
        raise
    except PermissionError as error:
        raise UserError(f"{location}: access is refused ({error}); look at the credentials") from error
    except NotImplementedError as error:
        raise UserError(f"{location}: cannot be written to; name a bucket or a folder") from error
    except Exception as error:  # each file system has its own errors for a network that fails
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ResourceError(f"{location}: does not answer ({reason}); run the same command later") from error


def place_at(location: str | Path) -> Place:
    """Return the place at a path or URL; that of a local file is a path too."""
    if str(location).startswith("file://"):
        import fsspec

        return Folder(fsspec.core.url_to_fs(str(location))[1])
    return Bucket(str(location)) if "://" in str(location) else Folder(str(location))
