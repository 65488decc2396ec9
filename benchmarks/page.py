"""What a person waits for on the probe page: its first paint, a long run's curves, the first cells of a recovery map.

    python -m benchmarks.page RUN [--loads 5]

RUN is a run of `tiny-cpu` with checkpoints 10 steps apart: the map asks its base and its last six. A run of 10,000
steps is made beside it. Bars: first paint 1 s, no frame of the long run above 200 ms, the map's first cell within 2 s
and the whole within 60 s. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from actors.policy.checkpoint import CheckpointStore
from benchmarks.server import serve_command
from cluster.serve.keys import add_key
from tests.runs import write_run
from tests.web.conftest import FLAGS

LONG: Final = 10_000
MODELS, STEPS, SAMPLES = 7, (1, 2, 3, 4), 12
PROBLEM: Final = {"op": 8, "seed": 4, "max_facts": 6}
"""Eight of the twelve alternatives at those steps can be planted: with 12 draws each as many texts as 12 with 8."""
PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
FRAMES: Final = """() => {
    window.frames = []; let before = performance.now();
    const next = (now) => { window.frames.push(now - before); before = now; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def opened(browser: Browser, url: str, key: str) -> Page:
    """A page in a context of its own, so that nothing is in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    context.add_init_script(f"sessionStorage.setItem('interplay.key', '{key}')")
    page = context.new_page()
    page.goto(url)
    page.locator(".plots path.line").first.wait_for()
    return page


def paints(browser: Browser, url: str, key: str, loads: int) -> list[tuple[float, float]]:
    """Of each load: milliseconds to the first paint, and seconds until the curves stand."""
    done: list[tuple[float, float]] = []
    for _ in range(loads):
        began = time.monotonic()
        page = opened(browser, url, key)
        done.append((page.evaluate(PAINT), time.monotonic() - began))
        page.context.close()
    return done


def frames(browser: Browser, url: str, key: str) -> list[float]:
    """Milliseconds of every frame while a run is scrolled through, pointed at and zoomed into."""
    page = opened(browser, url, key)
    plot = page.locator("figure .plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.evaluate(FRAMES)
    for at in range(20):
        page.mouse.move(box["x"] + box["width"] * (0.1 + 0.04 * at), box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    for _ in range(20):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(50)
    taken = page.evaluate("window.frames")
    page.context.close()
    return taken


def recovery(port: int, key: str, models: list[str]) -> tuple[float, float, int]:
    """Seconds to the first cell of a map and to its end, and how many continuations it drew."""
    body = {"models": models, "problem": PROBLEM, "steps": STEPS, "samples": SAMPLES, "seed": 0}
    first, drawn, began = 0.0, 0, time.monotonic()
    for event, told in _events(port, key, body):
        if event == "cell":
            drawn += len(told["draws"])
            first = first or time.monotonic() - began
        assert event != "error", told
    return first, time.monotonic() - began, drawn


def _events(port: int, key: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    headers = {"authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}/v1/probe/recovery"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=180) as answer:
        assert answer.status_code == httpx.codes.OK, answer.read()
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: {"):
                yield event, json.loads(line.removeprefix("data: "))


def measure(run: Path, folder: Path, loads: int) -> None:
    """Serve the run and the long one, and print a line for each figure."""
    store = CheckpointStore(run / "checkpoints")
    models = [f"{run.name}@{m.step}" for m in store.list() if m.stage == "rl"][-MODELS + 1 :]
    long = write_run(folder / "long", LONG)
    key_file = folder / "keys.json"
    key = add_key(key_file, "page:probe")
    with serve_command([run, long], key_file, key, folder / "log") as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name in (run.name, long.name):
            done = paints(browser, f"http://127.0.0.1:{port}/#runs?runs={name}", key, loads)
            first, curves = ([one[which] for one in done] for which in (0, 1))
            print(
                f"{name}: first paint {median(first):.0f} ms (largest {max(first):.0f}), curves after "
                f"{median(curves):.2f} s (largest {max(curves):.2f}), {loads} loads",
                flush=True,
            )
        taken = sorted(frames(browser, f"http://127.0.0.1:{port}/#runs?runs={long.name}", key))
        print(
            f"{long.name}: {len(taken)} frames, median {median(taken):.0f} ms, largest {taken[-1]:.0f} ms", flush=True
        )
        browser.close()
        for what in ("first", "again"):  # the base has made room for the others by then
            first_s, whole_s, drawn = recovery(port, key, ["base", *models])
            print(
                f"recovery map, asked {what}: {drawn} continuations, first cell {first_s:.1f} s, whole {whole_s:.1f} s"
            )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--loads", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(given.run, Path(folder), given.loads)


if __name__ == "__main__":
    main()
