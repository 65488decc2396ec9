/* Whom Compare sets against the first checkpoint: a select each, and a button for one more. */

import { byId, h } from "../elements/dom.js";
import { redraw } from "../elements/redraw.js";
import { others } from "./link.js";
import { groups } from "./models.js";

/** Builds the selects anew from the settings. */
export function fillAgainst(app) {
  const chosen = others(app.settings);
  redraw(byId("against"), ...chosen.map((id, i) => field(app, chosen, id, i)));
}

function field(app, chosen, id, i) {
  const name = i ? `Against, ${i + 1}` : "Against";
  const select = h(
    "select",
    { "aria-label": name, onchange: (event) => set(app, chosen.with(i, event.target.value)) },
    ...groups(app.models, id),
  );
  select.value = id;
  const last = i + 1 === chosen.length && chosen.length + 1 < (app.limits?.compared ?? 2);
  return h(
    "label",
    { class: "wide" },
    name,
    h(
      "span",
      { class: "joined" },
      select,
      chosen.length > 1 ? button("\u00d7", `Leave out ${id}`, () => set(app, chosen.toSpliced(i, 1))) : null,
      last ? button("+", "Add a checkpoint", () => add(app, chosen)) : null,
    ),
  );
}

const button = (text, name, onclick) => h("button", { type: "button", "aria-label": name, title: name, onclick }, text);

function set(app, chosen) {
  app.edit({ other: chosen.join(",") });
  fillAgainst(app);
}

/** The next checkpoint that is not compared yet, the newest first. */
function add(app, chosen) {
  const id = (name) => app.models.find((card) => card.id === name)?.alias_of ?? name;
  const taken = new Set([app.settings.model, ...chosen].map(id));
  const own = app.models.filter((card) => !card.alias_of);
  set(app, [...chosen, (own.findLast((card) => !taken.has(card.id)) ?? own.at(-1)).id]);
  byId("against").querySelector("label:last-of-type select").focus();
}
