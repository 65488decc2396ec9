"""The environment variables of our own processes, as pure functions of paths and core counts.

Not a settings reader: nothing here sets or reads `os.environ`. `cluster.cli` applies the result to its own process
before any heavy import, and `cluster.ray.runtime` hands it to Ray for every actor.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where libraries may keep what they would put into the home folder.

    `INTERPLAY_CACHE` if set, else `.cache` of a repository checkout that can be written, else a folder of this user's
    in the system's temporary folder.
    """
    if chosen := environ.get("INTERPLAY_CACHE"):
        return Path(chosen).resolve()
    if (REPOSITORY / "pyproject.toml").is_file() and os.access(REPOSITORY, os.W_OK):
        return REPOSITORY / ".cache"
    return Path(tempfile.gettempdir()) / f"interplay-cache-{os.getuid()}"


def process_env(cache: Path) -> dict[str, str]:
    """Variables that keep every library offline, silent about its usage and out of the home folder, and Ray brisk.

    `cache` is the folder that takes what would have gone there; it need not exist.
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
        # Ray gives its workers nice 15 (19 is the lowest priority); on a busy machine they would hardly run.
        "RAY_worker_niceness": "0",
        # Ray Train looks at the learner every 2 s by default: that long, a dead or a finished one holds up the run.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        # A process more, to let workers save before a node goes; ours save by the run's own schedule.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    }


def thread_env(cores: int) -> dict[str, str]:
    """Variables that hold one process to `cores` threads which wait asleep.

    Two processes of two spinning threads each on two cores run 20 to 30 times slower than alone: every parallel region
    waits for a thread that has no core. Must be set before torch is imported.
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
    """Everything an actor of `cores` cores gets in its runtime environment."""
    return {**process_env(cache), **thread_env(cores)}
