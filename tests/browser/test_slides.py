"""Every core notebook as slides, in a browser: nothing from a network, nothing cut off, nothing blank."""

import nbtools
import pytest
import slides

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("slides")]  # they share one export

CORE = [p for p in nbtools.notebook_paths() if p.stem < "07"]
SIZES = ((1280, 720), (1920, 1080))  # 16:9, so that the stage fills the window
SMALLEST_PROSE, SMALLEST_CODE = 18, 12.5  # pixels on a screen of 1280 x 720

# What is wrong with the slide that is shown: whatever reaches over the stage or over the box that clips it.
PROBE = """() => {
    const slide = document.querySelector("section.now");
    const stage = document.getElementById("stage").getBoundingClientRect();
    const scale = stage.width / 1280, wrong = [], sizes = { prose: [], code: [] };
    const said = (e) => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 50)}`;
    let heading = false, figures = 0, seen = 0;
    for (const e of slide.querySelectorAll("*")) {
        const box = e.getBoundingClientRect();
        if (!e.checkVisibility({ visibilityProperty: true }) || !box.width || !box.height) continue;
        seen += 1;
        heading ||= /^H[1-6]$/.test(e.tagName);
        figures += e.tagName === "IMG" || e.tagName === "IFRAME";
        if (box.left < stage.left - 1 || box.top < stage.top - 1 || box.right > stage.right + 1 ||
            box.bottom > stage.bottom - 30 * scale) wrong.push(`over the edge: ${said(e)}`);
        if (e.closest("math")) continue;
        if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).display !== "inline")
            wrong.push(`wider than its box: ${said(e)}`);
        const size = parseFloat(getComputedStyle(e).fontSize);
        if (/^(P|LI|SUMMARY)$/.test(e.tagName)) sizes.prose.push(size);
        if (e.tagName === "PRE") sizes.code.push(size);
        if (e.tagName === "IMG" && (!e.complete || !e.naturalWidth)) wrong.push(`not drawn: ${e.alt}`);
        const small = e.classList.contains("figure") && box.height < 200 * scale;
        if (small) wrong.push(`a small figure: ${box.height}`);
    }
    // Parts of a slide stand one after the other.
    const visible = [...slide.children].filter((e) => e.checkVisibility());
    const parts = visible.map((e) => e.getBoundingClientRect());
    parts.slice(1).forEach((box, k) => {
        if (box.top < parts[k].bottom - 1) wrong.push(`part ${k + 2} covers part ${k + 1}`);
    });
    return { wrong, heading, figures, seen, sizes, number: document.getElementById("number").textContent };
}"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """The folder with the slides of the core notebooks, exported as `make slides` does."""
    folder = tmp_path_factory.mktemp("slides")
    assert slides.main([*(p.stem for p in CORE), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def chrome(chromium):
    # Module-wide: an open playwright keeps an event loop running that other tests would trip over.
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_deck(chrome, decks):
    """Open a notebook's slides at a size; whatever is asked of a network is refused and must be nothing."""
    opened = []

    def open_(path, size):
        context = chrome.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_default_timeout(120_000)  # a busy machine is not a failure
        page, trouble = context.new_page(), []
        opened.append((context, trouble))

        def route(route):
            if route.request.url.startswith(("file:", "data:", "blob:", "about:")):
                return route.continue_()
            trouble.append(f"asked for {route.request.url}")
            return route.abort()

        context.route("**/*", route)
        page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto((decks / f"{path.stem}.html").as_uri())
        return page

    yield open_
    for context, trouble in opened:
        context.close()
        assert not trouble, trouble


def walk(page):
    """Press the key for the next step until nothing changes; yield what each slide shows when complete."""
    total = page.locator("section").count()
    for _ in range(1, total + 1):
        while page.locator("section.now .step.hidden").count():
            page.keyboard.press("ArrowRight")
        yield page.evaluate(PROBE)
        page.keyboard.press("ArrowRight")


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_every_slide_fits_the_screen(open_deck, path, size):
    page = open_deck(path, size)
    stage = page.locator("#stage").bounding_box()
    assert (stage["x"], stage["y"], stage["width"], stage["height"]) == pytest.approx((0, 0, *size))
    found = list(walk(page))
    assert 10 <= len(found) <= 45
    assert [f["number"] for f in found] == [f"{k} / {len(found)}" for k in range(1, len(found) + 1)]
    wrong = [f"slide {f['number']}: {w}" for f in found for w in f["wrong"]]
    assert not wrong, "\n".join(wrong)
    for f in found:
        assert f["seen"] and (f["heading"] or f["figures"]), f"slide {f['number']} is blank"
        assert min(f["sizes"]["prose"], default=99) >= SMALLEST_PROSE, f"small type on slide {f['number']}"
        assert min(f["sizes"]["code"], default=99) >= SMALLEST_CODE, f"small code on slide {f['number']}"


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_answers_fold_out_without_leaving_the_slide(open_deck, path):
    page = open_deck(path, SIZES[0])
    page.keyboard.press("End")
    folds = page.locator("section.now summary")
    assert folds.count() >= 3
    for k in range(folds.count()):
        folds.nth(k).click()
        assert page.locator("section.now details[open]").count() == 1
        assert page.evaluate(PROBE)["wrong"] == []


def test_keys_go_forth_and_back_and_show_the_notes(open_deck):
    page = open_deck(next(p for p in CORE if p.stem.startswith("02")), SIZES[0])
    number = page.locator("#number")
    last = page.locator("section").count()
    page.keyboard.press("End")
    assert number.inner_text() == f"{last} / {last}"
    page.keyboard.press("Home")
    assert number.inner_text() == f"1 / {last}"
    page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    assert number.inner_text() == f"1 / {last}"
    speaker = page.locator("#speaker")
    for _ in range(200):
        if page.locator("section.now .notes").count():
            break
        page.keyboard.press("Space")
    assert not speaker.is_visible()
    page.keyboard.press("s")
    assert speaker.is_visible() and "Solution" in speaker.inner_text()
    page.keyboard.press("s")
    assert not speaker.is_visible()


def test_an_output_waits_for_a_key_and_a_page_can_be_reloaded(open_deck):
    page = open_deck(CORE[0], SIZES[0])
    while not page.locator("section.now .output.step").count():
        page.keyboard.press("ArrowRight")
    output = page.locator("section.now .output.step").first
    assert not output.is_visible()
    page.keyboard.press("ArrowRight")
    assert output.is_visible()
    number = page.locator("#number").inner_text()
    page.reload()
    assert page.locator("#number").inner_text() == number


def test_the_probe_sees_what_it_must_see(open_deck):
    page = open_deck(CORE[0], SIZES[0])
    assert page.evaluate(PROBE)["wrong"] == []
    long = "<p>one more line</p>" * 40
    page.evaluate(f"document.querySelector('section.now').insertAdjacentHTML('beforeend', '{long}')")
    assert any("over the edge" in w for w in page.evaluate(PROBE)["wrong"])
