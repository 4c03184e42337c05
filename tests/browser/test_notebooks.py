"""The notebooks in JupyterLab, driven as a reader drives them: menu, mouse and keyboard.

nbval runs every cell of every notebook already. Doing all that again in a browser would double the time of
the tests and train the same networks, so the browser runs a light notebook whole, from the menu, and of a
heavy one (it trains for minutes) the set-up cell and every section that has a widget, from the section's
heading to the widget. The course promises that any section can be run right after the set-up cell, so this
tests that too.
"""

import re
import time

import nbtools
import pytest

NOTEBOOKS = [path.stem for path in nbtools.notebook_paths()]
HEAVY = ("01", "03", "04", "06")  # each trains for a minute or more
# A heavy section's own cells train; the kernel is given the widget's numbers in their place.
STAND_INS = {
    "widgets.label_budget_explorer(": (
        "FRACTIONS = (0.01, 0.1, 1.0)\n"
        "budget = {'SimCLR + linear': [0.7, 0.9, 0.95], 'raw pixels + linear': [0.12, 0.17, 0.21]}"
    )
}
# The interview's widgets change words, not a picture: the control to use, the key, and what must appear.
INTERVIEW = {
    "countdown": ("button", "Enter", r"14 min(utes)? 5\d"),
    "flash_cards": ("button", "Enter", None),
    "quiz": ("input[type=radio]", "Space", r"1 answered|1 of \d+ answered"),
}
WIDGET = re.compile(r"^(?:display\()?widgets\.(\w+)\(", re.MULTILINE)
SECONDS = 300  # for a whole light notebook


def widget_cells(stem):
    """Numbers of the cells that display a widget."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{stem}.ipynb").cells
    return [i for i, c in enumerate(cells) if c.cell_type == "code" and WIDGET.search(c.source)]


def section_of(stem, number):
    """Numbers of the code cells from the heading above a cell down to the cell itself."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{stem}.ipynb").cells
    start = max(
        i for i, c in enumerate(cells[:number]) if c.cell_type == "markdown" and c.source.startswith("## ")
    )
    return [i for i in range(start, number + 1) if cells[i].cell_type == "code"]


def cells_to_run(stem):
    """What is run of a heavy notebook: a list of cell numbers and of stand-in texts."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / f"{stem}.ipynb").cells
    steps = [next(i for i, c in enumerate(cells) if "setup" in c.metadata.get("tags", []))]
    for number in widget_cells(stem):
        stand_in = next((code for text, code in STAND_INS.items() if text in cells[number].source), None)
        steps += [stand_in, number] if stand_in else section_of(stem, number)
    return list(dict.fromkeys(steps))


def is_live(notebook, number):
    return "LiveTraining" in notebook.cells()[number]["source"]


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_notebook_runs_and_its_widgets_move(stem, open_notebook, explore_map):
    notebook = open_notebook(stem)
    if stem.startswith(HEAVY):
        for step in cells_to_run(stem):
            if isinstance(step, str):
                notebook.run_text(step)
            else:
                notebook.run_cells([step], SECONDS)
    else:
        notebook.run_all(SECONDS)
    for number in widget_cells(stem):
        if is_live(notebook, number):
            start_stop_and_resume(notebook.output(number))
        elif controls := INTERVIEW.get(WIDGET.search(notebook.cells()[number]["source"])[1]):
            use_by_keyboard(notebook.output(number), *controls)
        else:
            move_every_control(notebook.output(number))
    if stem.startswith("05"):
        number = notebook.find("plots.embedding_map(")
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
    for move in range(20):
        before = picture(output)
        page.keyboard.press(("ArrowRight", "ArrowLeft")[move % 2] if handles else "Space")
        assert changed(output, before, seconds=20), f"move {move + 1} of 20 did not change the picture"
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
