"""The environment variables of our own processes, as pure functions of paths and core counts.

Nothing here reads or sets `os.environ`. `cluster.cli` applies the result to its own process before any heavy import,
and `cluster.ray.runtime` passes it to Ray for every actor.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from verifier.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where libraries keep what they would otherwise put into the home folder.

    `INTERPLAY_CACHE` if set, else `.cache` of a writable repository checkout, else a folder of this user in the
    system's temporary folder.
    """
    if chosen := environ.get("INTERPLAY_CACHE"):
        return Path(chosen).resolve()
    if (REPOSITORY / "pyproject.toml").is_file() and os.access(REPOSITORY, os.W_OK):
        return REPOSITORY / ".cache"
    return Path(tempfile.gettempdir()) / f"interplay-cache-{os.getuid()}"


def require_own(cache: Path) -> None:
    """Raises UserError if the cache lies in the system's temporary folder and another user made it, or can write to it.

    Anybody can make a folder of that name there first, and libraries run code that they find in their caches.
    """
    if cache.parent != Path(tempfile.gettempdir()):
        return
    try:
        cache.mkdir(mode=0o700)
    except FileExistsError:
        found = cache.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise UserError(
                f"{cache}, where libraries keep what they compile, is no folder of this user's alone.",
                "Remove it, or name another folder: INTERPLAY_CACHE=FOLDER",
            ) from None


def token_file(environ: Mapping[str, str]) -> Path:
    """The file with the token of a cluster, as Ray looks for it; it need not exist."""
    return Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path(environ.get("HOME", "/"), ".ray", "auth_token"))


def process_env(cache: Path) -> dict[str, str]:
    """Variables that keep libraries offline, without usage reports and out of the home folder, and that tune Ray.

    `cache` is the folder that they use instead of the home folder; it need not exist.
    """
    at = str(cache)
    return {
        "XDG_CACHE_HOME": at,
        "XDG_CONFIG_HOME": f"{at}/config",
        "HF_HOME": f"{at}/huggingface",
        "MPLCONFIGDIR": f"{at}/matplotlib",
        "NUMBA_CACHE_DIR": f"{at}/numba",
        "TORCHINDUCTOR_CACHE_DIR": f"{at}/inductor",
        "TORCH_EXTENSIONS_DIR": f"{at}/torch-extensions",
        "TRITON_CACHE_DIR": f"{at}/triton",
        "TRITON_HOME": at,
        "VLLM_CACHE_ROOT": f"{at}/vllm",
        "VLLM_CONFIG_ROOT": f"{at}/config/vllm",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray starts its workers at nice 15 (19 is the lowest priority); on a busy machine they would hardly run.
        "RAY_worker_niceness": "0",
    }


def thread_env(cores: int) -> dict[str, str]:
    """Variables that limit a process to `cores` threads, which sleep while they wait.

    Two processes with two spinning threads each, on two cores, run 20 to 30 times slower than one alone: every parallel
    region waits for a thread that has no core. They must be set before torch is imported.
    """
    count = str(max(1, cores))
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "NUMEXPR_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }


def actor_env(cache: Path, cores: int) -> dict[str, str]:
    """All environment variables of an actor with `cores` cores."""
    return {**process_env(cache), **thread_env(cores)}
