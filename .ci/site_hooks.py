"""What mkdocs.yml cannot say: every decision is in the navigation, and a link out of docs/ names the file in the repository."""

import re
from pathlib import Path
from typing import Any


def on_config(config: Any) -> None:
    """Fill the list of decisions, the last of the navigation."""
    decisions = sorted(path.name for path in Path(config.docs_dir, "decisions").glob("*.md"))
    config.nav[-1]["For who changes it"][-1]["Decisions"] += [f"decisions/{name}" for name in decisions]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link that leads out of docs/ becomes its text and the file's name."""
    out = "../" * (page.file.src_uri.count("/") + 1)

    def named(link: re.Match[str]) -> str:
        text, name = link[1], link[2].rstrip("/")
        return text if text.strip("`") == name else f"{text} (`{name}`)"

    return re.sub(rf"\[([^\]]+)\]\({re.escape(out)}([^)#]+)[^)]*\)", named, markdown)
