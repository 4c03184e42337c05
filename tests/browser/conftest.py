"""A JupyterLab of the tests' own, and a Chromium that may talk to nobody else.

JupyterLab runs on a copy of the notebooks, with its own settings, home folder and kernels, so nothing of
the person who tests is read or changed. Whatever a page asks of another host is refused and recorded, and
so is every error of its console; a test ends with `watched.check()`, which wants both lists empty. What the
page looked like when a test failed lies in build/browser.
"""

import math
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

import lab
import nbtools
import pytest
from playwright.sync_api import Browser, Frame, Locator, Page, sync_playwright

from simclr_edu import pretrain
from simclr_edu.course import results
from simclr_edu.data import load_images

SHOTS = nbtools.ROOT / "build" / "browser"
LOCAL = ("127.0.0.1", "localhost")
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="module")
def browser(chromium):
    # Module-wide, not session-wide: an open playwright keeps an event loop running, which other tests'
    # notebook clients would trip over.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            # The first because Chromium's own sandbox does not work for root, as in a container; the second
            # because even a look-up of a name would be talk to the outside.
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


class Watched:
    """A page together with everything that it should not have done."""

    def __init__(self, browser: Browser) -> None:
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.context = browser.new_context(viewport={"width": 1400, "height": 1000}, service_workers="block")
        self.context.route("**/*", self._route)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on(
            "websocket", lambda socket: self._is_inside(socket.url) or self.outside.append(socket.url)
        )
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    @staticmethod
    def _is_inside(url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in LOCAL

    def _route(self, route) -> None:
        if self._is_inside(route.request.url):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def _console(self, message) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def check(self) -> None:
        """Fail when the page asked anything of another host, or its console shows an error."""
        assert not self.outside, f"the page asked other hosts: {sorted(set(self.outside))}"
        assert not self.errors, "the browser's console shows errors:\n" + "\n".join(self.errors)


@pytest.fixture
def watched(browser, request):
    watched = Watched(browser)
    yield watched
    if request.node.stash.get(FAILED, False):
        SHOTS.mkdir(parents=True, exist_ok=True)
        shot = SHOTS / f"{re.sub(r'[^A-Za-z0-9_]+', '-', request.node.name)}.png"
        watched.page.screenshot(path=shot)
        print(f"what the page looked like: {shot.relative_to(nbtools.ROOT)}")
        print("errors in its console:", *(watched.errors or ["none"]), sep="\n  ")
    watched.context.close()


# --- JupyterLab ---------------------------------------------------------------------------------------

SETTINGS = {
    # No question about news, no look for updates: neither belongs to the course, both would go outside.
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": (
        '{"fetchNews": "false", "checkForUpdates": false}'
    ),
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def used_home(tmp_path_factory):
    """A home folder with rows of all notebooks in the table of results, and a finished run of one's own."""
    folder = tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMCLR_EDU_HOME", str(folder))
        for name in results.STORY:
            results.record(name, notebook="06", profile="laptop", seed=0, linear=0.5, knn=0.5)
        config = pretrain.PretrainConfig(epochs=1, batch_size=64, device="cpu")
        pictures = load_images("shapes").train_images[:128]
        pretrain.pretrain(config, pictures, directory=folder / "runs" / pretrain.COURSE_RUN, progress=False)
        assert pretrain.course_run(verbose=False).directory != pretrain.SHIPPED
    return folder


@pytest.fixture(scope="session")
def lab_url(tmp_path_factory, used_home):
    """Address of a JupyterLab that serves a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    notebooks = folder / "notebooks"
    shutil.copytree(nbtools.NOTEBOOKS, notebooks, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name, text in SETTINGS.items():
        path = folder / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment = {"SIMCLR_EDU_PROFILE": "laptop"} | lab.environment()
    environment["SIMCLR_EDU_HOME"] = str(used_home)
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    environment["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / "workspaces")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        environment[name] = str(folder / name.lower())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={notebooks}"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
        "--LabApp.expose_app_in_browser=True",  # the tests ask it which cells have run
    ]
    log = folder / "jupyterlab.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 90
        while not answers(f"{url}/api/status"):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail("JupyterLab did not start:\n" + log.read_text()[-3000:])
            time.sleep(0.3)
        yield url
    finally:
        server.terminate()  # and with it its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


class Notebook:
    """A notebook open in JupyterLab."""

    # Both find the notebook that is on top.
    _PANEL = "window.jupyterapp.shell.currentWidget"
    _STATE = """() => {
        const panel = window.jupyterapp?.shell?.currentWidget;
        const kernel = panel?.sessionContext?.session?.kernel;
        if (!panel?.content?.widgets?.length || !kernel) return null;
        const errors = outputs =>
            outputs.filter(o => o.output_type === "error").map(o => `${o.ename}: ${o.evalue}`);
        const cells = panel.content.widgets.map(cell => cell.model.toJSON()).map(cell => ({
            kind: cell.cell_type,
            source: [].concat(cell.source).join(""),
            count: cell.execution_count,
            outputs: (cell.outputs ?? []).length,
            errors: errors(cell.outputs ?? []),
        }));
        return { kernel: kernel.status, cells };
    }"""

    def __init__(self, watched: Watched, lab_url: str, path: Path) -> None:
        self.watched, self.page, self.path, self._url = watched, watched.page, path, lab_url
        self.page.goto(f"{lab_url}/lab/tree/{path.name}?reset")
        self._until(lambda state: state["kernel"] == "idle", 90, "the kernel did not become idle")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def _until(self, condition: Callable[[dict], bool], seconds: float, complaint: str) -> dict:
        deadline = time.monotonic() + seconds
        while True:
            state = self.page.evaluate(self._STATE)
            if state is not None and condition(state):
                return state
            assert time.monotonic() < deadline, f"{self.path.name}: {complaint} within {seconds:.0f} s"
            self.page.wait_for_timeout(200)

    def cells(self) -> list[dict]:
        """Kind, text, execution count, number of outputs and errors of each cell."""
        return self.page.evaluate(self._STATE)["cells"]

    def find(self, text: str) -> int:
        """Number of the one code cell that holds ``text``."""
        found = [i for i, c in enumerate(self.cells()) if c["kind"] == "code" and text in c["source"]]
        assert len(found) == 1, f"{self.path.name}: {len(found)} cells hold {text!r}, one is wanted"
        return found[0]

    def run_all(self, seconds: float) -> None:
        """Run from top to bottom by the menu, as a reader would."""
        self.page.evaluate(f"() => {self._PANEL}.content.widgets.forEach(c => c.model.clearExecution?.())")
        self._choose_from_the_run_menu("Run All Cells")
        self._wait_for(lambda cell: cell["kind"] == "code" and bool(cell["source"].strip()), seconds)

    def run_cells(self, numbers: Collection[int], seconds: float) -> None:
        """Select some cells and run them by the menu; all others keep their saved outputs."""
        self.page.evaluate(
            f"""numbers => {{
                const content = {self._PANEL}.content;
                content.activeCellIndex = numbers[0];
                content.deselectAll();
                for (const number of numbers) {{
                    content.widgets[number].model.clearExecution?.();
                    content.select(content.widgets[number]);
                }}
            }}""",
            sorted(numbers),
        )
        self._choose_from_the_run_menu("Run Selected Cells?")
        chosen = [cell["source"] for number, cell in enumerate(self.cells()) if number in numbers]
        self._wait_for(lambda cell: cell["kind"] == "code" and cell["source"] in chosen, seconds)

    def _choose_from_the_run_menu(self, item: str) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        self.page.locator(".lm-Menu-item", has_text=re.compile(f"^{item}")).first.click()

    def execute(self, code: str) -> None:
        """Run a line in the notebook's kernel that stands in no cell."""
        status = self.page.evaluate(
            f"""async code => {{
                const kernel = {self._PANEL}.sessionContext.session.kernel;
                return (await kernel.requestExecute({{ code }}).done).content.status;
            }}""",
            code,
        )
        assert status == "ok", f"{self.path.name}: {status} from {code!r}"

    def run_cell(self, number: int, seconds: float) -> None:
        """Run one cell."""
        source = self.cells()[number]["source"]
        self.page.evaluate(
            f"""number => {{
                const content = {self._PANEL}.content;
                content.widgets[number].model.clearExecution();
                content.activeCellIndex = number;
                content.deselectAll();
                window.jupyterapp.commands.execute("notebook:run-cell");
            }}""",
            number,
        )
        self._wait_for(lambda cell: cell["source"] == source, seconds)

    def _wait_for(self, wanted: Callable[[dict], bool], seconds: float) -> None:
        def over(state: dict) -> bool:
            cells = [c for c in state["cells"] if wanted(c)]
            if any(c["errors"] for c in cells):
                return True
            return state["kernel"] == "idle" and all(c["count"] is not None for c in cells)

        state = self._until(over, seconds, "the cells did not finish")
        errors = [(i, e) for i, c in enumerate(state["cells"]) if wanted(c) for e in c["errors"]]
        assert not errors, f"{self.path.name}: cell {errors[0][0]} raised {errors[0][1]}"

    def output(self, number: int) -> Locator:
        """The output of a cell, scrolled into view."""
        self.page.evaluate(
            f"""async number => {{
                const content = {self._PANEL}.content;
                content.activeCellIndex = number;
                await content.scrollToItem(number, "start");
            }}""",
            number,
        )
        output = self.page.locator(f'.jp-Cell[data-windowed-list-index="{number}"] .jp-Cell-outputArea')
        output.wait_for()
        return output

    def frame_in(self, output: Locator) -> Frame:
        """The page inside the one frame of an output."""
        handle = output.locator("iframe").element_handle()
        frame = handle.content_frame()
        assert frame is not None
        frame.wait_for_load_state()
        return frame

    def close(self) -> None:
        """End the kernel, so that one does not take the memory of the next."""
        # Left unsaved: what it ran belongs to this test alone.
        self.page.evaluate(f"async () => {{ await {self._PANEL}?.sessionContext?.shutdown(); }}")


@pytest.fixture
def open_notebook(watched, lab_url):
    """Open a notebook by the beginning of its name, such as 02."""
    opened = []

    def open_(name: str) -> Notebook:
        (path,) = nbtools.notebook_paths([name])
        opened.append(Notebook(watched, lab_url, path))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.close()


# --- the embedding map --------------------------------------------------------------------------------


@pytest.fixture
def explore_map():
    """Explore an embedding map with mouse and keys, and compare what it shows with the data in its page."""

    def shown(frame: Frame) -> tuple[int, str, list[int]]:
        picture = frame.locator("#picture")
        near = frame.locator("#neighbours .tile").evaluate_all("tiles => tiles.map(t => +t.dataset.picture)")
        return int(picture.get_attribute("data-picture")), frame.locator("#label").inner_text(), near

    def explore(frame: Frame) -> None:
        data = frame.evaluate("() => JSON.parse(document.getElementById('data').textContent)")
        marks = frame.locator("#points use")
        assert marks.count() == len(data["labels"]) > 100
        # From outside: Chromium draws no frame that is out of sight, and inside it would wait for ever.
        frame.frame_element().scroll_into_view_if_needed()
        # Dots that stand alone: in a crowd the middle of a mark may lie nearer to another dot.
        at = marks.evaluate_all("all => all.map(m => [+m.getAttribute('x'), +m.getAttribute('y')])")
        alone = sorted(range(len(at)), key=lambda i: -sorted(math.dist(at[i], other) for other in at)[1])[:4]
        for i in alone:
            marks.nth(i).hover(force=True)
            frame.wait_for_function("i => +document.getElementById('picture').dataset.picture === i", arg=i)
            number, name, near = shown(frame)
            assert number == i
            assert name == data["names"][data["labels"][i]]
            assert near == data["neighbours"][i]
            assert name in frame.locator("#status").inner_text()
        # The picture's own pixels: the sheet is loaded, and shifted to the tile of this point.
        place = frame.locator("#picture").evaluate(
            "e => [getComputedStyle(e).backgroundPosition, getComputedStyle(e).width]"
        )
        width = 160
        left, top = i % data["columns"] * width, i // data["columns"] * width
        shift, size = place
        assert [-float(part.removesuffix("px")) for part in shift.split()] == [left, top]
        assert size == f"{width}px"
        seen = {i}
        frame.locator("#map").focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
            frame.page.keyboard.press(key)
            seen.add(shown(frame)[0])
        assert len(seen) >= 3, f"arrow keys reached only {seen}"
        frame.page.keyboard.press("Home")
        assert shown(frame)[0] == 0

    return explore
