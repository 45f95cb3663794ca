"""The documents as a whole: links lead somewhere, and the first page leads to all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamer.engine.metrics import EngineMetrics
from streamer.host.metrics import HostMetrics

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "models/*", "tests/*")
    for path in ROOT.glob(f"{folder}/*.md")
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = _HEADING.findall(path.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link names a file that is there, and a heading in it if it names one."""
    for link in _LINK.findall((ROOT / name).read_text()):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_the_first_page_leads_to_all_others() -> None:
    """README.md links every page of docs/, and stays short enough to be read."""
    text = (ROOT / "README.md").read_text()
    linked = {link.partition("#")[0] for link in _LINK.findall(text)}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= linked
    assert len(text.splitlines()) <= 200


def test_operators_read_of_every_series() -> None:
    """docs/operations.md names everything that the server measures."""
    registry = CollectorRegistry()
    EngineMetrics(registry)
    by_key = HostMetrics(registry).by_key
    text = (ROOT / "docs/operations.md").read_text()
    names = {metric.name for metric in (*registry.collect(), *by_key.collect())}
    assert {name for name in names if f"`{name}" not in text} == set()


def test_the_picture_of_the_whole_stays_small() -> None:
    """ARCHITECTURE.md has at most 180 lines, so that it is read before the code."""
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 180
