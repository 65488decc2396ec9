/* Ties the page together: settings and link, the problem, the views, keys and shortcuts. */

import { fillAgainst } from "./settings/against.js";
import { ApiError, Client } from "./server/api.js";
import { CompareView } from "./views/compare.js";
import { byId } from "./elements/dom.js";
import { DEFAULTS, read, write } from "./settings/link.js";
import { listen } from "./settings/keyboard.js";
import { fillModels, missing } from "./settings/models.js";
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
  problem = null; // what the view is about, once it is there
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
    this.#asked += 1; // what is on its way was asked for by another view
    byId("problem").classList.remove("loading");
    const { view } = this.settings;
    this.#leave();
    this.#fields();
    if (!asks(view)) return this.#show(view);
    if (!this.models.length) return this.#nothing();
    this.#lists();
    const lost = missing(this);
    if (lost) return this.#lost(lost);
    if (!this.task) return this.#learnTask();
    fillTask(this);
    this.change({});
    this.#fields();
    this.view = new VIEW[view](byId("stage"), this);
    await this.loadProblem();
  }

  #leave() {
    this.view?.leave?.();
    this.view = this.problem = null;
  }

  async #learnTask() {
    const ticket = this.#asked;
    try {
      this.task = await this.client.get(TASK);
    } catch (error) {
      if (ticket === this.#asked) this.trouble(error, () => this.restore());
      return;
    }
    if (ticket === this.#asked) await this.restore();
  }

  // A view that asks no checkpoint fills the page by itself.
  #show(view) {
    byId("problem").replaceChildren();
    byId("tools").hidden = false;
    this.client.forget((path) => !KEPT.includes(path));
    this.change({});
    this.view = new VIEW[view](byId("stage"), this);
  }

  /** Changes settings; with `push` the change is a step of the browser's history. */
  change(patch, push = false) {
    this.settings = { ...this.settings, ...patch };
    const hash = write(this.settings);
    const anew = this.client.saved ? {} : { step: -1, prefix: "", go: false }; // a saved page has its own view only
    for (const link of document.querySelectorAll("nav [data-view]"))
      link.href = write({ ...this.settings, view: link.dataset.view, ...anew });
    if (hash === location.hash) return;
    if (push) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  /** Fetches the problem, unless something else is asked for meanwhile, and then asks about it if the link says so. */
  async loadProblem() {
    const ticket = (this.#asked += 1);
    this.problem = null;
    this.client.forget((path) => !KEPT.includes(path));
    byId("problem").classList.add("loading");
    try {
      const problem = await fetchProblem(this.client, this.settings);
      if (ticket !== this.#asked) return;
      this.problem = problem;
    } catch (error) {
      if (ticket === this.#asked) this.trouble(error, () => this.restore());
      return;
    } finally {
      if (ticket === this.#asked) byId("problem").classList.remove("loading");
    }
    showProblem(byId("problem"), this.problem);
    byId("tools").hidden = false;
    this.view.reset(this.problem);
    if (this.settings.go) await this.run();
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
    this.#leave();
    this.#instead(failure(error, retry));
    if (error.status === 401) this.askKey();
  }

  #instead(notice) {
    byId("problem").replaceChildren();
    byId("tools").hidden = true;
    byId("stage").replaceChildren(notice);
  }

  /** Follows the run: new checkpoints join the lists, answers stay as they are. */
  async refresh() {
    if (document.hidden || !this.problem || this.#running) return;
    const names = (models) => models.map((card) => card.id + card.alias_of).join();
    try {
      const { data } = await this.client.get("v1/models");
      if (!this.problem || this.#running || !data.length || names(data) === names(this.models)) return;
      this.models = data;
    } catch (error) {
      if (error instanceof ApiError) return; // the next question will say what is wrong
      throw error;
    }
    this.#lists();
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
    this.#instead(
      empty("No checkpoint yet", "This run has not published a checkpoint. The page looks again every ten seconds."),
    );
    this.#again = setTimeout(() => this.start(), 10_000);
  }

  #lost(name) {
    const headline = `This link's ${this.settings.view === "training" ? "run" : "checkpoint"} is not here`;
    this.#instead(failure({ headline, message: `The server does not list ${name}; choose another one above.` }));
  }

  #lists() {
    fillModels(this);
    fillAgainst(this);
  }

  #fields() {
    const { settings } = this;
    const { elements } = byId("bench");
    for (const element of elements) {
      if (element.name && element.name in settings) element.value = settings[element.name];
    }
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
  if (!app.view || !asks(app.settings.view)) return;
  app.change({ go: true, prefix: "", step: -1 }, true);
  if (byId("stage").getBoundingClientRect().top > innerHeight * 0.6) byId("tools").scrollIntoView();
  if (app.problem) app.run(); // one that is on its way is asked about when it is there
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
