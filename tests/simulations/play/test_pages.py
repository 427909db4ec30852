"""The page in a browser: dragged, typed at, listened to, in every light and on a phone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
expect = sync_api.expect

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, address: tuple[str, int]) -> Iterator[Any]:
    """Return a function that opens a view; whatever the page complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_view(view: str, viewport: dict[str, int] = DESK, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://{address[0]}:{address[1]}/#{view}")
        if view != "replay":
            expect(page.get_by_role("status")).to_contain_text("Distance to the honest mean")
        return page

    yield open_view
    for context in contexts:
        context.close()
    assert complaints == []


def output(page: Any, rule: str) -> Any:
    return page.locator(f'.output[data-rule="{rule}"] > g')


def test_dragging_a_malicious_point_drags_the_mean_out_of_the_ball_and_not_the_median(
    visit: Any,
) -> None:
    page = visit("plane")
    mean, median = (output(page, rule).get_attribute("transform") for rule in ("mean", "median"))
    expect(page.locator("circle.ball.broken")).to_have_count(0)
    page.get_by_label("λ of the ball").fill("0.5")
    for i in range(3):
        point = page.locator(f'.handle[data-kind="malicious"][data-index="{i}"]')
        point.hover()
        page.mouse.down()
        corner = page.locator("#field").bounding_box()
        page.mouse.move(corner["x"] + 30, corner["y"] + corner["height"] - 20 - 30 * i, steps=5)
        page.mouse.up()
    expect(page.locator('.output.outside[data-rule="mean"]')).to_have_count(1)
    expect(page.locator("circle.ball.broken")).to_have_count(1)
    assert output(page, "mean").get_attribute("transform") != mean
    assert output(page, "median").get_attribute("transform") == median
    expect(page.locator('tr[data-rule="mean"]')).to_contain_text("outside")
    expect(page.get_by_role("status")).to_contain_text("(outside the ball)")


def test_points_move_by_keyboard_and_say_where_they_are(visit: Any) -> None:
    page = visit("plane")
    point = page.get_by_role("button", name="honest 1,")
    before = point.get_attribute("aria-label")
    shown = output(page, "mean").get_attribute("transform")
    point.focus()
    for _ in range(5):
        page.keyboard.press("Shift+ArrowUp")
    expect(output(page, "mean")).not_to_have_attribute("transform", shown)
    x, y = (float(v) for v in before.partition("at ")[2].split(", "))
    expect(point).to_have_attribute("aria-label", f"honest 1, at {x:.2f}, {y + 3:.2f}")
    expect(point).to_be_focused()


def test_every_view_is_reached_and_worked_by_keyboard_alone(visit: Any) -> None:
    page = visit("plane")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("link", name="Tour").press("Enter")
    expect(page.get_by_role("heading", name="Why the mean breaks")).to_be_visible()
    expect(page.locator("circle.ball.broken")).to_have_count(0)
    liar = page.get_by_role("button", name="malicious 1,")
    for key in ("ArrowLeft", "ArrowDown") * 8:  # what the tour says to try
        liar.press(f"Shift+{key}")
    expect(page.locator('.output.outside[data-rule="mean"]')).to_have_count(1)
    for title in ("median", "breakdown", "little", "promised", "Different", "Momentum", "ARC"):
        page.get_by_role("button", name="Next", exact=True).press("Enter")
        heading = page.locator("#step-title")
        expect(heading).to_contain_text(title)
        expect(heading).to_be_focused()
        expect(page.locator("#trouble")).to_be_hidden()
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()


def test_momentum_shrinks_the_cloud_and_its_ball(visit: Any) -> None:
    page = visit("tour")
    page.get_by_role("button", name="Step 7").click()
    ball = page.locator("#field circle.ball")
    expect(ball).to_have_count(1)
    before = float(ball.get_attribute("r"))
    page.get_by_label("momentum β").fill("0.95")
    page.wait_for_function(
        "before => document.querySelector('#field circle.ball').r.baseVal.value < before / 2",
        arg=before,
    )


def test_what_the_tour_says_to_try_shows_what_it_says(visit: Any) -> None:
    page = visit("tour")

    def error(rule: str, change: Any) -> float:
        """Change something, and return the rule's error once the answer is there."""
        with page.expect_response("**/api/aggregate") as asked:
            change()
        told = {r["name"]: r for r in asked.value.json()["rules"]}[rule]
        expect(page.locator(f'tr[data-rule="{rule}"]')).to_contain_text(
            "–" if "error" in told else f"{told['distance']:.2f}"
        )
        return float(told.get("distance", "nan"))

    def step(number: int) -> Any:
        return page.get_by_role("button", name=f"Step {number}:").click

    def slide(label: str, value: float) -> Any:
        return lambda: page.get_by_label(label, exact=True).fill(str(value))

    def choose(before: str) -> Any:
        return lambda: page.get_by_label("before the rule").select_option(before)

    error("median", step(3))
    assert math.isnan(error("median", slide("of them malicious f", 6)))
    assert error("median", slide("f that the rules assume", 4)) > 3

    error("krum", step(4))
    by_factor = [error("krum", slide("factor (tau)", tau)) for tau in (0.1, 1.5, 3)]
    assert by_factor[1] > 3 * max(by_factor[0], by_factor[2])
    adapted = error("krum", page.get_by_label("adapts to the rule in focus").check)
    assert adapted >= max(by_factor)

    mixed = error("trimmed_mean", step(6))
    assert error("trimmed_mean", choose("")) > 3 * mixed

    error("trimmed_mean", step(8))
    arc = error("trimmed_mean", slide("factor (tau)", 10))
    clipped = error("trimmed_mean", choose("clip(c=2.0)"))
    assert arc < error("trimmed_mean", choose("")) < clipped


def test_an_attack_moves_the_colluders_and_a_defence_undoes_it(visit: Any) -> None:
    page = visit("plane")
    page.get_by_label("attack", exact=True).select_option("foe")
    page.get_by_label("factor (tau)").fill("9")
    expect(page.locator(".handle.beyond")).to_have_count(3)
    expect(page.locator('.output.outside[data-rule="mean"]')).to_have_count(1)
    page.get_by_label("before the rule").select_option("arc > nnm")
    expect(page.locator('.output.outside[data-rule="mean"]')).to_have_count(0)
    expect(page.locator("#field circle.threshold")).to_have_count(1)
    expect(page.locator("#field circle.mixed")).to_have_count(13)
    expect(page.locator("#focus")).to_contain_text("arc > nnm > median")


def test_a_run_is_replayed_round_by_round_and_hostile_text_stays_text(visit: Any) -> None:
    page = visit("replay")
    first = page.locator("#replayed tbody tr").first
    expect(first).to_contain_text("75.0%")
    expect(page.get_by_text("<img src=x onerror=alert(1)>").first).to_be_visible()
    page.get_by_label("round", exact=True).fill("2")
    expect(first).to_contain_text("50.0%")
    expect(first).to_contain_text("3.50")
    expect(first).to_contain_text("node 4: non-finite")
    expect(page.locator(".heat")).to_contain_text(
        "Round 2: the updates of 1 of 4 nodes counted, no malicious one among them."
    )
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".player .value")).to_have_text("3 of 3")


@pytest.mark.parametrize(
    ("view", "scheme"),
    [("plane", "light"), ("tour", "dark"), ("replay", "light"), ("replay", "dark")],
)
def test_axe_finds_no_barrier_and_a_phone_needs_no_sideways_scrolling(
    view: str, scheme: str, visit: Any
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")
    page = visit(view, PHONE, scheme)
    page.wait_for_selector("#replayed table" if view == "replay" else "#rules tr")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    page.set_viewport_size(DESK)
    # axe is put in by the test's driver, which the page's own policy does not bind.
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 20
    told = [(v["help"], [node["html"][:160] for node in v["nodes"]]) for v in found["violations"]]
    assert told == []
