"""The page on a phone, from the keyboard, and in the dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.page import browser
from tests.page.conftest import Visiting
from tests.page.serving import Loop, SayingHost, Site, site_of

LONG = "extraordinarily-long-words-are-broken-" * 12
# WCAG 2.1, 1.4.3 for text and 1.4.11 for what is drawn.
LEAST_CONTRAST = 4.5
# Of everything that has text of its own: its colour, and the first colour behind it.
CONTRASTS = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [R, G, B] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && hasText(element))
    .filter((element) => !element.matches(":disabled, [inert] *, option"))
    .map((element) => {
      const [a, b] = [rgb(getComputedStyle(element).color), behind(element)].map((colour) => luminance(colour) + 0.05);
      return [element.tagName, element.textContent.trim().slice(0, 30), Math.max(a, b) / Math.min(a, b)];
    });
}"""


def finished(page: browser.Visit, speech: Path) -> None:
    page.page.set_input_files("#file", speech)
    page.state_is("Done")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_scrolling_sideways(width: int, mute: Any, loop: Loop, visit: Visiting, speech: Path) -> None:
    """Neither empty nor with options open, a notice and words that are longer than the screen."""
    with site_of(loop, SayingHost(LONG)) as site:
        page = visit(mute, site, viewport={"width": width, "height": 700}, is_mobile=True, has_touch=True)
        finished(page, speech)
        page.page.get_by_text("Options").tap()
        page.call("() => document.getElementById('notice').hidden = false")
        page.call("(text) => document.getElementById('notice-text').textContent = text", LONG)
        sizes = page.call("() => [document.scrollingElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1] == width
        # The button stays where the thumb is.
        box = page.page.locator("#record").bounding_box()
        assert box["y"] + box["height"] <= 700
        assert box["height"] >= 44


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(scheme: str, mute: Any, site: Site, visit: Visiting, speech: Path) -> None:
    """Every text has the contrast of WCAG AA: settings, notices, final and interim text."""
    page = visit(mute, site, color_scheme=scheme, reduced_motion="reduce")
    page.page.get_by_text("Options").click()
    page.call("() => document.getElementById('notice').hidden = false")
    found = page.call(CONTRASTS)
    finished(page, speech)
    page.call("() => document.getElementById('interim').hidden = false")
    page.call("() => document.querySelector('#interim .words').textContent = 'not final'")
    found += page.call(CONTRASTS)
    assert len(found) > 40
    assert [entry for entry in found if entry[2] < LEAST_CONTRAST] == []


def test_the_keyboard_is_enough(mute: Any, site: Site, visit: Visiting, speech: Path) -> None:
    """Tab visits the controls in their order, Enter presses them, arrows go from word to word."""
    page = visit(mute, site)
    keyboard = page.page.keyboard
    page.page.on("filechooser", lambda chooser: chooser.set_files(speech))
    focused = """() => {
      const { activeElement: at } = document;
      return at.id || at.dataset.format || at.className || at.tagName.toLowerCase();
    }"""
    order = []
    # One link for each thing that the server does.
    links = page.page.locator("#views a:visible").count()
    for _ in range(links + 5):
        keyboard.press("Tab")
        order.append(page.call(focused))
        outline = page.call("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    assert order == [*(["a"] * links), "record", "open", "model", "language", "summary"]
    assert links > 1
    page.page.locator("#open").focus()
    keyboard.press("Enter")
    page.state_is("Done")
    page.page.locator("#copy").focus()
    order = []
    for _ in range(6):
        keyboard.press("Tab")
        order.append(page.call(focused))
    assert order == ["txt", "srt", "vtt", "json", "wav", "word"]
    words = page.page.locator("#finals .word")
    page.has_text("word-info", re.compile("^[0-9.]+\N{EN DASH}[0-9.]+ s, [0-9]+ % sure$"))
    keyboard.press("ArrowRight")
    browser.playwright.expect(words.nth(1)).to_be_focused()
    keyboard.press("End")
    browser.playwright.expect(words.last).to_be_focused()
    keyboard.press("Home")
    browser.playwright.expect(words.first).to_be_focused()
    # Coming back with Tab goes to the word that was left.
    keyboard.press("ArrowRight")
    keyboard.press("Shift+Tab")
    keyboard.press("Tab")
    browser.playwright.expect(words.nth(1)).to_be_focused()


def test_finals_are_told_to_screen_readers(mute: Any, site: Site, visit: Visiting, speech: Path) -> None:
    """Only finals are announced, politely and one by one; states are, and every control has a name."""
    page = visit(mute, site)
    finished(page, speech)
    live = page.page.get_by_role("log", name="Final text")
    assert live.get_attribute("aria-live") == "polite"
    assert live.get_attribute("aria-relevant") == "additions"
    assert page.page.locator("#interim").get_attribute("aria-live") == "off"
    assert page.page.get_by_role("status").first.inner_text() == "Done"
    unnamed = page.call("""() => [...document.querySelectorAll("button, input:not([hidden]), select, textarea")]
      .filter((control) => !control.textContent.trim() && !control.labels?.length)
      .map((control) => control.id)""")
    assert unnamed == []


def test_a_word_is_played(mute: Any, site: Site, visit: Visiting, speech: Path) -> None:
    """A click on a word plays the recording from there to the end of its segment."""
    page = visit(mute, site)
    finished(page, speech)
    page.call("""() => {
      window.played = new Promise((resolve) => {
        HTMLMediaElement.prototype.play = function () { resolve(this.currentTime); return Promise.resolve(); };
      });
    }""")
    word = page.page.locator("#finals .word").nth(3)
    word.click()
    start_s = float(page.page.locator("#word-info").inner_text().split("\N{EN DASH}")[0])
    assert page.call("() => window.played") == pytest.approx(start_s - 0.08, abs=0.011)
