// Sliders on live slides. jupyterlab-rise 0.43 does not offer the module @jupyterlab/console to extensions, and
// without it the widget manager of ipywidgets 8 does not load (jupyterlab-contrib/rise, issue 119). All the
// manager takes from it is one token, to ask for a console that it can do without. Where the module is offered,
// as in JupyterLab itself, this does nothing.
(window._JUPYTERLAB ??= {})["simclr-edu-rise"] = {
  init(shared) {
    const [coreutils] = Object.values(shared["@lumino/coreutils"] ?? {});
    if (shared["@jupyterlab/console"] || !coreutils) return;
    const get = async () => {
      const { Token } = (await coreutils.get())();
      const IConsoleTracker = new Token("@jupyterlab/console:IConsoleTracker");
      return () => ({ IConsoleTracker });
    };
    shared["@jupyterlab/console"] = { "4.0.0": { get, from: "simclr-edu-rise", loaded: 0 } };

    // A key pressed on a slider is meant for the slider. The notebook's shortcuts, which see it on its way in, heed
    // an attribute of what was pressed; the presenter, which sees it on its way out, would turn the slide.
    const onWidget = (event) => event.target.closest?.(".jupyter-widgets");
    const shield = (event) => onWidget(event) && event.target.setAttribute("data-lm-suppress-shortcuts", "");
    window.addEventListener("keydown", shield, true);
    document.body.addEventListener("keydown", (event) => onWidget(event) && event.stopPropagation());
  },
};
