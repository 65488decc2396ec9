/* Shortcuts, dialogs, theme and the copy buttons. */

import { byId, h } from "../elements/dom.js";
import { write } from "./link.js";
import { pinned } from "./models.js";
import { storage } from "./storage.js";

const SHORTCUTS = [
  ["g", "Ask the checkpoint"],
  ["x", "Stop"],
  ["n", "Next problem"],
  ["f", "Go to the first wrong step"],
  ["j, k", "Next, previous step"],
  ["Enter", "Open or close the step"],
  ["e", "Edit the open step"],
  ["h", "Token heat"],
  ["1 to 6", "Solve, Compare, Training, pass@k, Recovery, Runs"],
  ["c", "Copy the link"],
  ["t", "Light or dark"],
  ["?", "This list"],
];
const ENABLED = "interplay.shortcuts";
const browser = storage("local");

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
}

async function copy(text, done) {
  const said = byId("copied");
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = done;
  } catch (error) {
    if (!["NotAllowedError", "TypeError"].includes(error.name)) throw error; // no permission, or no secure context
    said.textContent = text;
  }
}

function curl(app) {
  const { path, body } = app.view.request();
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  const headers = `-H "Authorization: Bearer $INTERPLAY_KEY" -H 'Content-Type: application/json'`;
  return `curl -N ${new URL(path, document.baseURI)} ${headers} -d '${quoted}'`;
}

function actions(app) {
  const heads = () => [...document.querySelectorAll(".step-head")];
  const move = (by) => {
    const all = heads();
    const at = all.indexOf(document.activeElement);
    const to = at < 0 ? all.find((head) => head.tabIndex === 0) : all[at + by];
    to?.focus();
  };
  const views = [...document.querySelectorAll("nav [data-view]")];
  const toggleTheme = () => {
    const dark = document.documentElement.dataset.theme !== "dark";
    browser.setItem("interplay.theme", dark ? "dark" : "light");
    theme(dark);
  };
  return {
    g: () => byId("bench").requestSubmit(),
    x: () => app.stop(),
    n: () => byId("dice").click(),
    j: () => move(1),
    k: () => move(-1),
    f: () => document.querySelector(".step.first .step-head")?.focus(),
    e: () => document.querySelector(".detail .edit")?.click(),
    h: () => byId("heat").click(),
    t: toggleTheme,
    c: () => byId("copy-link").click(),
    "?": () => byId("help-dialog").showModal(),
    ...Object.fromEntries(views.map((view, i) => [String(i + 1), () => view.click()])),
  };
}

/** Connects everything that is not a field of the bench. */
export function listen(app) {
  const act = actions(app);
  theme(document.documentElement.dataset.theme === "dark");
  byId("theme").addEventListener("click", act.t);
  byId("help-open").addEventListener("click", act["?"]);
  byId("help-list").append(...SHORTCUTS.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]));
  byId("shortcuts").checked = browser.getItem(ENABLED) !== "off";
  byId("shortcuts").addEventListener("change", (event) =>
    browser.setItem(ENABLED, event.target.checked ? "on" : "off"),
  );
  byId("copy-link").addEventListener("click", () =>
    copy(new URL(write(pinned(app)), document.baseURI).href, "Link copied"),
  );
  byId("copy-curl").addEventListener("click", () => app.view?.request && copy(curl(app), "Command copied"));
  byId("key-open").addEventListener("click", () => app.askKey());
  byId("key-dialog").addEventListener("close", () => keyChosen(app));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || browser.getItem(ENABLED) === "off") return;
    const action = act[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function keyChosen(app) {
  const input = byId("key-input");
  const { returnValue } = byId("key-dialog");
  if (returnValue === "save" && input.value) app.client.key = input.value;
  if (returnValue === "forget") app.client.key = "";
  input.value = "";
  if (returnValue === "save" || returnValue === "forget") app.start();
}
