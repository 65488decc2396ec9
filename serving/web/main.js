/* Ties the page together: settings and link, the problem, the views, keys and shortcuts. */

import { fillAgainst } from "./settings/against.js";
import { ApiError, Client } from "./server/api.js";
import { CompareView } from "./views/compare.js";
import { byId } from "./elements/dom.js";
import { DEFAULTS, read, write } from "./settings/link.js";
import { listen } from "./settings/keyboard.js";
import { fillModels } from "./settings/models.js";
import { empty, failure } from "./elements/notices.js";
import { PassView } from "./views/pass.js";
import { fetchProblem, fillTask, showProblem } from "./settings/problem.js";
import { RecoveryView } from "./views/recovery.js";
import { RunsView } from "./views/runs.js";
import { listenSave } from "./saved/buttons.js";
import { opened } from "./saved/opened.js";
import { SolveView } from "./views/solve.js";
import { TrainingView } from "./views/training.js";

const VIEW = {
  solve: SolveView,
  compare: CompareView,
  training: TrainingView,
  pass: PassView,
  recovery: RecoveryView,
  runs: RunsView,
};
const VERB = {
  solve: "Solve",
  compare: "Compare",
  training: "Ask all checkpoints",
  pass: "Estimate",
  recovery: "Plant errors",
  runs: "",
};
const asks = (view) => view !== "runs"; // of a checkpoint, about a problem
const REFRESH_MS = 30_000;
const STARTED = ["v1/limits", "v1/models"];
const TASK = "v1/probe/task"; // asked by views that ask a checkpoint: a key may be for the others only
const KEPT = [...STARTED, TASK];
const ABOUT = [...KEPT, "v1/probe/problems", "v1/probe/items"]; // what is known before a checkpoint answers
const OF_PROBLEM = ["op", "facts", "template", "mode", "seed", "stratum"];

const saved = await opened();

class App {
  client = new Client(saved);
  settings = read(location.hash || (saved?.link ?? ""));
  problem = null;
  models = [];
  limits = null;
  task = null;
  view = null;
  #running = null;
  #asked = 0;
  #again = null; // the timer of a page without a checkpoint

  announce = (text) => {
    byId("live").textContent = text;
  };

  /** Reads the models and the problem, then shows the view that the link names. */
  async start() {
    this.#fields();
    try {
      const [limits, models] = await Promise.all(STARTED.map((path) => this.client.get(path)));
      [this.limits, this.models] = [limits, models.data];
    } catch (error) {
      return this.trouble(error, () => this.start());
    }
    await this.restore();
  }

  /** Brings the page to `settings`: fields, view, problem, and the answer if the link asks for it. */
  async restore() {
    this.stop();
    clearTimeout(this.#again);
    const { view } = this.settings;
    this.view?.leave?.();
    this.view = null;
    if (!asks(view)) return this.#show(view);
    if (!this.models.length) return this.#nothing();
    if (!fillModels(this)) return this.#fields();
    if (!this.task) return this.#learnTask();
    fillTask(this);
    this.change({});
    this.#fields();
    this.view = new VIEW[view](byId("stage"), this);
    if (!(await this.loadProblem())) return;
    if (this.settings.go) await this.run();
  }

  async #learnTask() {
    try {
      this.task = await this.client.get(TASK);
    } catch (error) {
      return this.trouble(error, () => this.restore());
    }
    await this.restore();
  }

  // A view that asks no checkpoint fills the page by itself.
  #show(view) {
    byId("problem").replaceChildren();
    byId("tools").hidden = false;
    this.client.forget((path) => !KEPT.includes(path));
    this.change({});
    this.#fields();
    this.view = new VIEW[view](byId("stage"), this);
  }

  /** Changes settings; with `push` the change is a step of the browser's history. */
  change(patch, push = false) {
    this.settings = { ...this.settings, ...patch };
    const hash = write(this.settings);
    for (const link of document.querySelectorAll("nav [data-view]")) {
      link.href = write({ ...this.settings, view: link.dataset.view, step: -1, prefix: "", go: false });
    }
    if (hash === location.hash) return;
    if (push) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  /** Fetches the problem; false when it failed or another one was asked for meanwhile. */
  async loadProblem() {
    const ticket = (this.#asked += 1);
    this.client.forget((path) => !KEPT.includes(path));
    byId("problem").classList.add("loading");
    try {
      const problem = await fetchProblem(this.client, this.settings);
      if (ticket !== this.#asked) return false;
      this.problem = problem;
    } catch (error) {
      if (ticket === this.#asked) this.trouble(error, () => this.restore());
      return false;
    } finally {
      if (ticket === this.#asked) byId("problem").classList.remove("loading");
    }
    showProblem(byId("problem"), this.problem);
    byId("tools").hidden = false;
    this.view.reset(this.problem);
    return true;
  }

  /** Asks what the view asks. */
  run() {
    return this.runOne((signal) => this.view.run(signal));
  }

  /** One question at a time: a new one stops the old one. */
  async runOne(ask) {
    this.stop();
    const running = (this.#running = new AbortController());
    this.#busy(true);
    try {
      await ask(running.signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.askKey();
      this.announce(`${error.headline}. ${error.message}`);
    } finally {
      if (this.#running === running) {
        this.#running = null;
        this.#busy(false);
      }
    }
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
    this.#busy(false);
  }

  /** An error that leaves nothing to show. */
  trouble(error, retry) {
    if (!(error instanceof ApiError)) throw error;
    byId("problem").replaceChildren();
    byId("tools").hidden = true;
    this.view?.leave?.();
    this.view = null;
    byId("stage").replaceChildren(failure(error, retry));
    if (error.status === 401) this.askKey();
  }

  /** Follows the run: new checkpoints join the lists, answers stay as they are. */
  async refresh() {
    if (document.hidden || !this.view || this.#running || !asks(this.settings.view)) return;
    const names = () => this.models.map((card) => card.id + card.alias_of).join();
    const before = names();
    try {
      this.models = (await this.client.get("v1/models")).data;
    } catch (error) {
      if (error instanceof ApiError) return; // the next question will say what is wrong
      throw error;
    }
    if (names() === before || !fillModels(this)) return;
    this.#fields();
    this.view.modelsChanged?.();
  }

  askKey() {
    const dialog = byId("key-dialog");
    dialog.returnValue = ""; // Escape keeps the last one
    if (!dialog.open) dialog.showModal();
    byId("key-input").focus();
  }

  #busy(busy) {
    byId("stop").hidden = !busy;
    for (const id of ["save-page", "save-svg"]) byId(id).disabled = busy;
    byId("stage").setAttribute("aria-busy", String(busy));
  }

  #nothing() {
    byId("problem").replaceChildren();
    byId("stage").replaceChildren(
      empty("No checkpoint yet", "This run has not published a checkpoint. The page looks again every ten seconds."),
    );
    this.#again = setTimeout(() => this.start(), 10_000);
  }

  #fields() {
    const { settings } = this;
    const { elements } = byId("bench");
    for (const element of elements) {
      if (element.name && element.name in settings) element.value = settings[element.name];
    }
    fillAgainst(this);
    if (!settings.facts) elements.facts.value = "";
    elements.op.max = this.limits?.op ?? elements.op.max;
    byId("heat").checked = settings.heat;
    for (const link of document.querySelectorAll("nav [data-view]")) {
      if (link.dataset.view === settings.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    for (const element of document.querySelectorAll("[data-for]"))
      element.hidden = !element.dataset.for.split(" ").includes(settings.view);
    byId("save-svg").hidden = settings.view === "solve" && settings.stratum !== ""; // there is no graph
    byId("go").textContent = VERB[settings.view];
    byId("bench").hidden = !asks(settings.view);
    const name = document.querySelector("nav [aria-current]").textContent;
    document.title = `${name} - Interplay probe`;
  }

  /** A field of the bench was changed by hand. */
  edited(field) {
    if (!(field.name in DEFAULTS) || !field.checkValidity()) return;
    this.edit({ [field.name]: typeof DEFAULTS[field.name] === "number" ? Number(field.value) : field.value });
  }

  /** What is asked has changed: the answer to something else goes. */
  edit(patch) {
    this.stop();
    this.change({ ...patch, step: -1, prefix: "", go: false });
    if (!this.view) return this.restore();
    if (!asks(this.settings.view)) return;
    if (OF_PROBLEM.some((name) => name in patch)) this.loadProblem();
    else if (this.problem) {
      this.client.forget((path) => !ABOUT.includes(path));
      this.view.reset(this.problem);
    }
  }
}

/** The page; exported so that tests and the console can reach it. */
export const app = new App();

byId("bench").addEventListener("change", (event) => app.edited(event.target));
byId("bench").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!app.view?.run || !app.problem) return;
  app.change({ go: true, prefix: "", step: -1 }, true);
  if (byId("stage").getBoundingClientRect().top > innerHeight * 0.6) byId("tools").scrollIntoView();
  app.run();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the permalink
  byId("stage").focus();
});
byId("stop").addEventListener("click", () => app.stop());
byId("dice").addEventListener("click", () => {
  const field = byId("bench").elements.seed;
  field.value = String(Number(field.value) + 1);
  app.edited(field);
});
byId("heat").addEventListener("change", (event) => {
  app.change({ heat: event.target.checked });
  app.view?.setHeat(event.target.checked);
});
addEventListener("popstate", () => {
  app.settings = read(location.hash);
  if (app.limits) app.restore();
});
listen(app);
listenSave(app);
setInterval(() => app.refresh(), REFRESH_MS);
app.start();
