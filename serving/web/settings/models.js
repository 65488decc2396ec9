/* The lists of checkpoints: aliases first, then the checkpoints in the order of training. */

import { byId, h } from "../elements/dom.js";
import { others } from "./link.js";

const label = (card) => (card.alias_of ? `${card.id} (${card.alias_of})` : card.id);

/** The options of a select. "demo@latest" says no more than "latest" while there is one run, unless it is `chosen`. */
export function groups(models, chosen) {
  const one = new Set(models.map((card) => card.run)).size === 1;
  const aliases = models.filter((card) => card.alias_of && (!one || !card.id.includes("@") || card.id === chosen));
  const own = models.filter((card) => !card.alias_of);
  const stages = [...new Set(own.map((card) => `${card.run}, ${card.stage}`))];
  const group = (name, cards) =>
    h(
      "optgroup",
      { label: name },
      cards.map((card) => h("option", { value: card.id }, label(card))),
    );
  return [
    aliases.length ? group("Aliases", aliases) : null,
    ...stages.map((stage) =>
      group(
        stage,
        own.filter((card) => `${card.run}, ${card.stage}` === stage),
      ),
    ),
  ].filter(Boolean);
}

/** The checkpoints of a run, oldest first; "" is the first run. */
export function training(models, run) {
  return models.filter((card) => !card.alias_of && card.run === (run || models[0].run));
}

/** Fills the selects; what the settings name and the server does not list is no option. */
export function fillModels({ models, settings }) {
  const { model, run } = byId("bench").elements;
  const runs = [...new Set(models.map((card) => card.run))];
  const known = (id) => models.some((card) => card.id === id);
  if (settings.model === "latest" && !known("latest")) settings.model = models.at(-1).id;
  if (settings.other === "base" && !known("base")) settings.other = models[0].id;
  if (settings.run === runs[0]) settings.run = "";
  model.replaceChildren(...groups(models, settings.model));
  model.value = settings.model;
  run.replaceChildren(...runs.map((name, i) => h("option", { value: i === 0 ? "" : name }, name)));
  run.value = settings.run;
}

/** The checkpoint or run that the view asks and the server does not list, if there is one. */
export function missing({ models, settings }) {
  const { view, model, run } = settings;
  if (view === "training") return training(models, run).length ? undefined : run;
  const asked = ["compare", "recovery"].includes(view) ? [model, ...others(settings)] : [model];
  return asked.find((id) => !models.some((card) => card.id === id));
}

/** The settings for a link that is passed on: aliases move, so it names the checkpoints that answered. */
export function pinned({ models, settings }) {
  const id = (name) => models.find((card) => card.id === name)?.alias_of ?? name;
  return { ...settings, model: id(settings.model), other: others(settings).map(id).join(",") };
}
