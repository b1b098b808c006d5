"""What a run was computed with: versions, code, device."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("ecgprep", "torch", "torchvision", "timm", "numpy", "scipy", "zarr", "zarrs", "pyarrow", "safetensors")


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that matter; None for one that is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_state() -> dict[str, Any]:
    """Return the commit of the code and whether it has uncommitted changes; None for an installed package."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "uncommitted_changes": None if changes is None else bool(changes)}


def command() -> str:
    """Return the command line of this process, as it can be given again; a script's or a notebook's own from Python."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def devices() -> dict[str, Any]:
    """Return the processors that torch can compute on."""
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "cuda": cuda,
        "mps": torch.backends.mps.is_available(),
    }


def codec() -> str:
    """Return the codec pipeline that reads local stores."""
    import zarr

    from store.codecs import native_codecs

    with native_codecs(1):
        return str(zarr.config.get("codec_pipeline.path"))
