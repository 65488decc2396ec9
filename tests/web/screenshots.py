"""Takes the pictures of docs/probe.md from a running server over a finished run of `tiny-cpu`. Not a test.

By hand, with the key that `interplay serve demo` printed:
`INTERPLAY_KEY=... python -m tests.web.screenshots http://127.0.0.1:8000/ docs/images`.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.web.conftest import FLAGS

# All at temperature 1 with fixed seeds: the same run gives the same pictures.
SHOTS: dict[str, tuple[str, int, Literal["light", "dark"]]] = {
    "probe-solve": ("#solve?op=5&seed=3&model=demo@60&go=1&step=1", 1280, "light"),
    "probe-solve-dark": ("#solve?op=5&seed=3&model=demo@60&go=1", 1280, "dark"),
    "probe-compare": ("#compare?op=5&seed=7&model=demo@60&other=base&go=1", 1280, "light"),
    "probe-compare-phone": ("#compare?op=5&seed=7&model=demo@60&other=base&go=1", 390, "dark"),
    "probe-training": ("#training?op=5&seed=7&go=1", 1280, "light"),
    "probe-pass": ("#pass?op=5&seed=3&model=demo@60&problems=4&go=1", 1280, "light"),
    "probe-recovery": ("#recovery?op=3&seed=4&model=demo@60&other=base&samples=16&step=0&go=1", 1280, "light"),
    "probe-runs": ("#runs", 1280, "light"),
    "probe-phone": ("#solve?op=5&seed=3&model=demo@60&go=1", 390, "light"),
}
TALLEST = 1300  # pixels
SLOW_MS = 180_000  # every checkpoint of the run is loaded for the training view


def take(base: str, key: str, folder: Path) -> None:
    """Writes every picture into `folder`, at 128 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, (link, width, scheme) in SHOTS.items():
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
            )
            context.add_init_script(f"sessionStorage.setItem('interplay.key', '{key}')")
            page = context.new_page()
            page.set_default_timeout(SLOW_MS)
            page.goto(base + link)
            page.locator(".judgement h2[data-tone], .parting, .bars, .planted, .plots path.line").first.wait_for()
            page.locator("#stop").wait_for(state="hidden")
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
            picture.quantize(128).save(folder / f"{name}.png", optimize=True)
            context.close()
        browser.close()


if __name__ == "__main__":
    take(sys.argv[1], os.environ["INTERPLAY_KEY"], Path(sys.argv[2]))
