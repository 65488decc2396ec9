"""Checks this machine, and says what does not fit and how to correct it. Changes nothing, starts nothing.

`look` reads the machine into one record; `judge` turns the record into findings and is pure. Neither imports torch, Ray
or vLLM: versions come from the installed packages' metadata, so a broken environment can be checked too.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from cluster.ray.environment import REPOSITORY, cache_folder, token_file
from cluster.ray.packaging import PACKAGES
from cluster.ray.resources import GIB, memory_gib

Status = Literal["ok", "warn", "fail"]
PYTHON = (3, 11)
WITH_GPU_WHEELS = ((3, 11), (3, 12), (3, 13))
"""For which there are CUDA builds of torch and vLLM; their CPU builds that fit together are for PYTHON only."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108
UNFIT = ("torchvision", "torchaudio", "torchcodec")
# Our HTTP service, Ray's dashboard and job API.
PORTS = {6379: "ray start --head", 8000: "interplay serve", 8265: "Ray dashboard and jobs", 52365: "Ray job agent"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `fix` is empty if there is nothing to do; `fail` means that recipes cannot run."""

    name: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What `look` found. Sizes are in bytes; `origins` are the files that our package names resolve to."""

    python: tuple[int, int]
    in_venv: bool
    installed: Mapping[str, str]
    pinned: Mapping[str, str]
    origins: Mapping[str, str | None]
    home_of_packages: str
    busy_ports: tuple[int, ...]
    disk_free: int
    memory_available: int
    shm_free: int | None
    cpu_flags: frozenset[str]
    architecture: str
    cores: int
    gpus: tuple[str, ...]
    environ: Mapping[str, str]
    token_mode: int | None
    open_files: int
    cache_writable: bool


def look(environ: Mapping[str, str]) -> Machine:
    """Read this machine. Takes well under a second."""
    cache = cache_folder(environ)
    return Machine(
        python=sys.version_info[:2],
        in_venv=sys.prefix != sys.base_prefix,
        installed={d.name.lower().replace("_", "-"): d.version for d in metadata.distributions()},
        pinned=_pins(),
        origins={name: _origin(name) for name in PACKAGES},
        home_of_packages=str(REPOSITORY),
        busy_ports=tuple(p for p in PORTS if _is_busy(p)),
        disk_free=shutil.disk_usage(REPOSITORY).free,
        memory_available=psutil.virtual_memory().available,
        shm_free=shutil.disk_usage(SHARED_MEMORY).free if os.path.isdir(SHARED_MEMORY) else None,
        cpu_flags=_cpu_flags(),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        gpus=_gpus(),
        environ=dict(environ),
        token_mode=_mode(token_file(environ)),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cache_writable=os.access(_nearest_existing(cache), os.W_OK),
    )


def judge(machine: Machine) -> tuple[Finding, ...]:
    """Every finding, in the order of the table."""
    return (
        _python(machine),
        _versions(machine),
        _unfit(machine),
        _shadowed(machine),
        _cpu(machine),
        _gpu(machine),
        _threads(machine),
        _memory(machine),
        _shared_memory(machine),
        _disk(machine),
        _open_files(machine),
        _ports(machine),
        _ray_auth(machine),
    )


def demo_gib(rollout_workers: int) -> float:
    """What the recipe tiny-cpu asks for, without reading it, which takes an environment that works."""
    return memory_gib(rollout_workers, reward_workers=1, ranks=1, cache_gib=0.25)


def _python(m: Machine) -> Finding:
    text = ".".join(map(str, m.python)) + (" in a virtual environment" if m.in_venv else "")
    if m.python == PYTHON:
        return Finding("Python", "ok", text)
    torch = m.installed.get("torch", "+cpu")
    if "+cpu" not in torch and m.python in WITH_GPU_WHEELS:
        return Finding("Python", "warn", text, "works in principle: the tests run on Python 3.11 only")
    return Finding("Python", "fail", text, "use Python 3.11: make clean setup PYTHON=python3.11")


def _versions(m: Machine) -> Finding:
    name = "pinned versions"
    if not m.pinned:
        return Finding(name, "warn", "no lock file beside the packages; versions not compared")
    off = [f"{k} {m.installed.get(k, 'missing')}, not {v}" for k, v in m.pinned.items() if m.installed.get(k) != v]
    if off:
        more = f" and {len(off) - 5} more" if len(off) > 5 else ""
        return Finding(name, "fail", "; ".join(off[:5]) + more, "make setup; if that changes nothing, make clean setup")
    return Finding(name, "ok", f"{len(m.pinned)} packages as locked")


def _unfit(m: Machine) -> Finding:
    found = [p for p in UNFIT if p in m.installed]
    if not found:
        return Finding(
            "wheels that do not fit",
            "ok",
            f"{', '.join(UNFIT)} are absent, as they should be; `pip check` reports them as missing, which is harmless",
        )
    status: Status = "fail" if "+cpu" in m.installed.get("torch", "") else "warn"
    return Finding(
        "wheels that do not fit",
        status,
        f"{', '.join(found)} installed: no build of them fits torch {m.installed.get('torch', '?')} here",
        f"pip uninstall -y {' '.join(found)}",
    )


def _shadowed(m: Machine) -> Finding:
    wrong = {
        name: where or "not found"
        for name, where in m.origins.items()
        if where is None or not Path(where).is_relative_to(m.home_of_packages)
    }
    if wrong:
        named = "; ".join(f"{k}: {v}" for k, v in wrong.items())
        fix = "uninstall the package that brings that name, or start from the folder of this repository"
        return Finding("package names", "fail", f"taken by another distribution: {named}", fix)
    return Finding("package names", "ok", f"{', '.join(m.origins)} are ours")


def _cpu(m: Machine) -> Finding:
    text = f"{m.cores} cores, {m.architecture}"
    if m.architecture != "x86_64":
        return Finding("CPU", "fail", text, "the pinned wheels are for x86-64; use such a machine")
    if "avx512f" in m.cpu_flags:
        return Finding("CPU", "ok", f"{text}, AVX-512")
    if "avx2" in m.cpu_flags:
        return Finding("CPU", "warn", f"{text}, AVX2 only", "works; vLLM's CPU build is slower without AVX-512")
    return Finding("CPU", "fail", f"{text}, no AVX2", "vLLM's CPU build needs AVX2: use another machine")


def _gpu(m: Machine) -> Finding:
    if not m.gpus:
        return Finding("GPU", "ok", "none; the CPU recipes need none")
    if "+cpu" in m.installed.get("torch", ""):
        fix = "for the GPU recipes install requirements/gpu.txt in an environment of its own"
        return Finding("GPU", "warn", f"{len(m.gpus)} present, but torch is the CPU build", fix)
    return Finding("GPU", "ok", ", ".join(m.gpus))


def _threads(m: Machine) -> Finding:
    asked = m.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > m.cores:
        return Finding(
            "threads",
            "warn",
            f"OMP_NUM_THREADS={asked} on {m.cores} cores: processes that spin run 20 times slower",
            "unset OMP_NUM_THREADS; recipes give each process its own count",
        )
    return Finding("threads", "ok", "each worker gets as many threads as cores from the recipe; waiting threads sleep")


def _memory(m: Machine) -> Finding:
    text = f"{m.memory_available / GIB:.1f} GiB available"
    least, usual = demo_gib(rollout_workers=1), demo_gib(rollout_workers=2)
    if m.memory_available < least * GIB:
        fix = f"free memory: the demo asks for {usual:.1f} GiB, with one rollout worker for {least:.1f} GiB"
        return Finding("memory", "fail", text, fix)
    if m.memory_available < usual * GIB:
        fix = f"enough for one rollout worker (fleet.rollout_workers=1); the demo asks for {usual:.1f} GiB"
        return Finding("memory", "warn", text, fix)
    return Finding("memory", "ok", text)


def _shared_memory(m: Machine) -> Finding:
    if m.shm_free is None or m.shm_free < GIB // 4:
        have = "absent" if m.shm_free is None else f"{m.shm_free / GIB:.2f} GiB free"
        return Finding(SHARED_MEMORY, "warn", have, "Ray falls back to the disk; in a container give --shm-size=2g")
    return Finding(SHARED_MEMORY, "ok", f"{m.shm_free / GIB:.1f} GiB free")


def _disk(m: Machine) -> Finding:
    text = f"{m.disk_free / GIB:.1f} GiB free"
    if not m.cache_writable:
        fix = "make the repository's folder writable, or set INTERPLAY_CACHE to a writable folder"
        return Finding("disk", "fail", "the cache folder cannot be written", fix)
    if m.disk_free < GIB:
        return Finding("disk", "fail", text, "free at least 2 GiB: checkpoints and caches need them")
    if m.disk_free < 3 * GIB:
        return Finding("disk", "warn", text, "free some space before a long run")
    return Finding("disk", "ok", text)


def _open_files(m: Machine) -> Finding:
    if m.open_files < 2048:
        return Finding("open files", "warn", f"limit {m.open_files}", "ulimit -n 65536: Ray holds many sockets")
    return Finding("open files", "ok", f"limit {m.open_files}")


def _ports(m: Machine) -> Finding:
    if not m.busy_ports:
        return Finding("ports", "ok", f"{', '.join(map(str, PORTS))} are free")
    taken = ", ".join(f"{p} ({PORTS[p]})" for p in m.busy_ports)
    return Finding("ports", "warn", f"taken: {taken}", "name another with --port, or stop what holds it (`ss -ltnp`)")


def _ray_auth(m: Machine) -> Finding:
    if m.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        fix = "unset RAY_AUTH_MODE: anyone who reaches a Ray without authentication can run code on it"
        return Finding("Ray authentication", "warn", "switched off by RAY_AUTH_MODE", fix)
    if m.token_mode is not None and m.token_mode & 0o077:
        where = token_file(m.environ)
        return Finding(
            "Ray authentication", "warn", f"others can read {where} (mode {m.token_mode:04o})", f"chmod 600 {where}"
        )
    return Finding("Ray authentication", "ok", "on for every Ray that interplay starts; its token file is private")


def _pins() -> dict[str, str]:
    """Package to version, from the lock file that matches the installed torch; empty if there is none."""
    build = "cpu" if "+cpu" in _version_of("torch") or not _version_of("torch") else "gpu"
    lock = REPOSITORY / "requirements" / f"{build}.txt"
    if not lock.is_file():
        return {}
    lines = (line.partition("==") for line in lock.read_text().splitlines() if "==" in line and line[0] != "#")
    return {name.lower().replace("_", "-"): version.strip() for name, _, version in lines}


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _origin(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return spec.origin if spec else None


def _is_busy(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _cpu_flags() -> frozenset[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return frozenset(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())


def _gpus() -> tuple[str, ...]:
    folder = Path("/proc/driver/nvidia/gpus")
    cards = sorted(folder.iterdir()) if folder.is_dir() else []
    models = [line for card in cards for line in (card / "information").read_text().splitlines() if "Model:" in line]
    return tuple(line.partition(":")[2].strip() for line in models)


def _mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.is_file() else None


def _nearest_existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())
