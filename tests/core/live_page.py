"""What tests of pages that change by themselves share; their fixtures are in conftest.py."""

from playwright.sync_api import expect

BLINK = 20_000
"""Milliseconds that a busy machine may take for what takes 100."""
expect.set_options(timeout=BLINK)


def live(page):
    """Waits until it is, and marks it: whoever loads it anew loses the mark."""
    expect(page.locator("#connection")).to_have_text("live", timeout=60_000)
    page.evaluate("() => { window.isSame = true; }")
    return page


def call(page, module, expression):
    """Evaluates an expression in which `script` is one of the modules that the page runs."""
    return page.evaluate(
        f"async () => {{ const script = await import('/static/core/{module}.js');"
        f" return {expression}; }}"
    )
