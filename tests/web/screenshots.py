"""Takes the pictures of docs/probe.md from the page on the stand-in API. Not a test.

By hand: `python -m tests.web.screenshots docs/images`.
"""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.web.conftest import FLAGS
from tests.web.fake_api import Knobs, make_app

SHOTS = {
    "probe-solve": ("#solve?model=demo@40&go=1&step=4", 1280, "light"),
    "probe-solve-dark": ("#solve?model=demo@0&go=1", 1280, "dark"),
    "probe-compare": ("#compare?model=demo@40&other=demo@100&go=1", 1280, "light"),
    "probe-training": ("#training?at=demo@60&go=1", 1280, "light"),
    "probe-pass": ("#pass?model=demo@80&temperature=1&problems=2&go=1", 1280, "light"),
    "probe-phone": ("#solve?model=demo@40&go=1", 390, "light"),
}


def take(folder: Path) -> None:
    """Writes every picture into `folder`, at 200 colours."""
    server = uvicorn.Server(uvicorn.Config(make_app(Knobs()), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, (link, width, scheme) in SHOTS.items():
            page = browser.new_page(
                viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
            )
            page.goto(base + link)
            page.locator("#stop").wait_for(state="hidden")
            page.locator(".verdict h2[data-tone], .parting, .bars").first.wait_for()
            page.wait_for_load_state("networkidle")
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture.quantize(200).save(folder / f"{name}.png", optimize=True)
            page.close()
        browser.close()
    server.should_exit = True
    thread.join(5)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
