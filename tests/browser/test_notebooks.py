"""The notebooks in JupyterLab, driven as a reader drives them: menu, mouse and keyboard.

What a kernel makes of every cell, nbval shows. Here stands what only a browser shows: each notebook opens
with its saved outputs, runs by the menu in a home folder that others have used, as a reader's is, and every
control of every widget is moved by the keyboard. So of most notebooks the set-up cell runs and the sections
with a widget or the results table, as for somebody who came for that section; one runs from top to bottom.
"""

import re
import time

import nbtools
import pytest

NOTEBOOKS = [path.stem for path in nbtools.notebook_paths()]
# The interview's widgets change words, not a picture: the control to use, the key, and what must appear.
INTERVIEW = {
    "countdown": ("button", "Enter", r"14 min(utes)? 5\d"),
    "flash_cards": ("button", "Enter", None),
    "quiz": ("input[type=radio]", "Space", r"1 answered|1 of \d+ answered"),
}
WIDGET = re.compile(r"^(?:display\()?explorers\.(\w+)\(", re.MULTILINE)
SECONDS = 900  # on a busy machine
MOVES = 200
WHOLE = "10_interview"  # no training in it
# The real run takes a minute. A shorter one in a home folder without one is drawn while it trains as well.
SHORT_RUN = """
import os, tempfile
os.environ["SIMCLR_EDU_HOME"] = tempfile.mkdtemp(dir=os.environ["SIMCLR_EDU_HOME"])
config = replace(config, epochs=2)
"""
TRAINS = "run = pretrain(config, data, callbacks=[knn_callback, live]"


def widget_cells(stem):
    """Numbers of the cells that display a widget."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{stem}.ipynb").cells
    return [i for i, c in enumerate(cells) if c.cell_type == "code" and WIDGET.search(c.source)]


def worth_a_browser(stem):
    """Numbers of the code cells in sections with a widget, or with the results table and nothing else."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{stem}.ipynb").cells
    sections = [[]]
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        elif cell.cell_type == "code":
            sections[-1].append(number)
    chosen = []
    for section in sections[1:]:
        code = [cells[number].source for number in section]
        # What comes after the training is about a run as long as the profile's.
        trains = next((k for k, text in enumerate(code) if TRAINS in text), len(code))
        if any("explorers." in text for text in code) or code == ["results.table()"]:
            chosen += section[: trains + 1]
    return chosen


def is_live(notebook, number):
    return "LiveTraining" in notebook.cells()[number]["source"]


def run(notebook):
    """Run the notebook, or what is worth a browser of it, by the menu."""
    if notebook.path.stem == WHOLE:
        return notebook.run_all(SECONDS)
    set_up = notebook.find("profiles.describe(")
    notebook.run_cells([set_up], SECONDS)
    if notebook.path.stem.startswith("04"):
        notebook.execute(SHORT_RUN)
    return notebook.run_cells(worth_a_browser(notebook.path.stem), SECONDS)


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_notebook_opens_and_runs_and_its_widgets_move(stem, open_notebook, explore_map):
    notebook = open_notebook(stem)
    for number, cell in enumerate(notebook.cells()):
        if cell["outputs"]:
            notebook.output(number)  # JupyterLab draws what comes into view
    run(notebook)
    assert widget_cells(stem) or not any("explorers." in cell["source"] for cell in notebook.cells())
    for number in widget_cells(stem):
        if is_live(notebook, number):
            start_stop_and_resume(notebook.output(number))
        elif controls := INTERVIEW.get(WIDGET.search(notebook.cells()[number]["source"])[1]):
            use_by_keyboard(notebook.output(number), *controls)
        else:
            move_every_control(notebook.output(number))
    if stem.startswith("04"):  # the curve that was drawn while the cell trained
        assert is_loaded(notebook.output(notebook.find("live = explorers.LiveTraining")))
    if stem.startswith("05"):
        number = notebook.find("figures.embedding_map(")
        explore_map(notebook.frame_in(notebook.output(number)))
    notebook.watched.check()


def picture(output):
    """Address of the one picture in a widget; it changes when the picture does."""
    images = output.locator("img.widget-image")
    assert images.count() == 1, f"{images.count()} pictures in one widget"
    return images.get_attribute("src")


def changed(output, before, seconds):
    """Wait until there is another picture; return whether there came one."""
    deadline = time.monotonic() + seconds
    while picture(output) == before:
        if time.monotonic() > deadline:
            return False
        output.page.wait_for_timeout(20)
    return True


def press_until_changed(output, key, what):
    """Press a key until the picture changes: one step may be too small to change it (a chance of 5% more)."""
    before = picture(output)
    for _ in range(20):
        output.page.keyboard.press(key)
        if changed(output, before, seconds=1):
            return
    assert changed(output, before, seconds=20), f"{what}: {key} did not change the picture"


def is_loaded(output):
    """Whether the picture that is shown is one, and not a broken one."""
    return output.locator("img.widget-image").evaluate(
        "async image => { await image.decode(); return image.naturalWidth > 300; }"
    )


# Look at the picture of an output in every frame that the browser draws: is there one, and of which height?
WATCH = """output => {
    const image = output.querySelector("img.widget-image");
    const seen = window.seen = { on: true, frames: 0, blank: 0, heights: [], sources: new Set() };
    const look = () => {
        if (!seen.on) return;
        seen.frames += 1;
        const height = image.getBoundingClientRect().height;
        // While the next picture loads, Chromium keeps the last one painted and its box as high as it was.
        if (image.isConnected && height) seen.heights.push(height);
        else seen.blank += 1;
        seen.sources.add(image.src);
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
WATCHED = """() => {
    const seen = window.seen;
    seen.on = false;
    const jump = Math.max(...seen.heights) - Math.min(...seen.heights);
    return { frames: seen.frames, blank: seen.blank, jump, pictures: seen.sources.size };
}"""


def size_of(output):
    """Number of elements in an output; a widget that is moved must not add any."""
    return output.locator("*").count()


def move_every_control(output):
    """Move each control with the keyboard alone: the picture follows, and the output does not grow."""
    output.locator("img.widget-image").wait_for()
    handles = output.locator(".noUi-handle").all()
    boxes = output.locator("input[type=checkbox]").all()
    assert handles or boxes, "the widget has no control"
    page, elements = output.page, size_of(output)
    for k, handle in enumerate(handles):
        handle.focus()
        forth, back = ("ArrowRight", "ArrowLeft")
        if handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax"):
            forth, back = back, forth
        press_until_changed(output, forth, f"slider {k}")
        press_until_changed(output, back, f"slider {k}")
    for k, box in enumerate(boxes):
        box.focus()
        press_until_changed(output, "Space", f"check box {k}")
    (handles or boxes)[0].focus()
    keys = ("ArrowRight", "ArrowLeft") if handles else ("Space", "Space")
    output.evaluate(WATCH)
    for move in range(MOVES):
        page.keyboard.press(keys[move % 2])
        page.wait_for_timeout(20)
    # The last moves are still to be drawn; a press now could take one of them back before the kernel saw it.
    while changed(output, picture(output), seconds=2):
        pass
    before = picture(output)
    page.keyboard.press(keys[0])
    assert changed(output, before, seconds=60), f"no new picture after {MOVES} moves"
    seen = output.evaluate(WATCHED)
    assert seen["frames"] > MOVES / 4, f"the page drew {seen['frames']} frames during {MOVES} moves"
    # Not only the first and the last: the picture follows. How many come between is a matter of the machine.
    assert seen["pictures"] > 3, f"{seen['pictures']} pictures in {MOVES} moves"
    assert seen["blank"] == 0, f"no picture in {seen['blank']} of {seen['frames']} frames: it flickers"
    assert seen["jump"] < 2, f"the picture's height jumped by {seen['jump']} pixels"
    assert is_loaded(output)
    assert size_of(output) == elements, "the output grew while the widget was moved"


def start_stop_and_resume(output):
    """Click the three buttons of a live training, and see that the run goes on where it stopped."""
    button = {name: output.get_by_role("button", name=name) for name in ("Start", "Stop", "Resume")}
    caption = output.get_by_role("status")

    def logged():
        return int(re.search(r"over (\d+) logged steps", caption.inner_text())[1])

    def wait_until(name, seconds):
        deadline = time.monotonic() + seconds
        while not button[name].is_enabled():
            assert time.monotonic() < deadline, f"the button {name} was not enabled within {seconds} s"
            output.page.wait_for_timeout(50)

    assert button["Stop"].is_disabled() and button["Resume"].is_disabled()
    button["Start"].click()
    output.locator("img.widget-image").wait_for()  # the first record is drawn
    button["Stop"].click()
    wait_until("Resume", 30)
    stopped_at, curve = logged(), picture(output)
    output.page.wait_for_timeout(1000)
    assert picture(output) == curve, "the curve went on after Stop"
    button["Resume"].click()
    assert changed(output, curve, seconds=30), "the curve did not go on after Resume"
    assert logged() > stopped_at, "Resume began anew"
    button["Stop"].click()  # that a run to the end is as good as one never stopped, a unit test says
    wait_until("Resume", 30)
    assert is_loaded(output)


def use_by_keyboard(output, control, key, appears):
    """Use the first control that is enabled with a key; new words must appear in the output."""
    first = output.locator(f"{control}:not([disabled])").first
    first.wait_for()
    before = output.inner_text()
    first.focus()
    output.page.keyboard.press(key)
    deadline = time.monotonic() + 20
    while output.inner_text() == before or (appears and not re.search(appears, output.inner_text())):
        assert time.monotonic() < deadline, f"{key} on {control} changed nothing: {output.inner_text()[:300]}"
        output.page.wait_for_timeout(50)
