"""What is generated is up to date, and every link leads somewhere."""

import re
import runpy
import sys
from pathlib import Path

import attrs
import pytest

from cortex_trio import Config, WorkerConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("tool", ["failures_table", "pictures"])
def test_what_a_tool_writes_is_what_is_there(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: run `python docs/tools/….py` and look at what has changed."""
    path = ROOT / "docs" / "tools" / f"{tool}.py"
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    for file, text in runpy.run_path(str(path))["made"]().items():
        assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [link[1] for link in LINK.finditer(page.read_text(encoding="utf-8")) if "://" not in link[1]]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("settings", [Config, WorkerConfig])
def test_the_page_on_configuration_lists_all_there_is(settings: type) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert [field.name for field in attrs.fields(settings) if f"| `{field.name}` |" not in page] == []
