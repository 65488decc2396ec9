"""Lists every decision record in the site's navigation, so that a new record needs no line elsewhere."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Called by MkDocs once the settings are read."""
    folder = Path(config["docs_dir"])
    records = sorted(file.relative_to(folder).as_posix() for file in (folder / "decisions").glob("*.md"))
    config["nav"].append({"Decisions": records})
    return config
