/* The lists of checkpoints: aliases first, then the checkpoints in the order of training. */

import { byId, h } from "../elements/dom.js";
import { others } from "./link.js";
import { failure } from "../elements/notices.js";

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

/** Fills the selects; false (with a notice) when the link names a model that is not there. */
export function fillModels(app) {
  const { model } = byId("bench").elements;
  model.replaceChildren(...groups(app.models, app.settings.model));
  const runs = [...new Set(app.models.map((card) => card.run))];
  byId("bench").elements.run.replaceChildren(...runs.map((run, i) => h("option", { value: i === 0 ? "" : run }, run)));
  const { settings } = app;
  const known = (id) => app.models.some((card) => card.id === id);
  if (settings.model === "latest" && !known("latest")) settings.model = app.models.at(-1).id;
  if (settings.other === "base" && !known("base")) settings.other = app.models[0].id;
  const lost = [settings.model, ...others(settings)].find((id) => !known(id));
  if (!lost) return true;
  byId("problem").replaceChildren();
  byId("stage").replaceChildren(
    failure({
      headline: "This link's checkpoint is not here",
      message: `The server does not list ${lost}; choose another one above.`,
    }),
  );
  return false;
}

/** The settings for a link that is passed on: aliases move, so it names the checkpoints that answered. */
export function pinned({ models, settings }) {
  const id = (name) => models.find((card) => card.id === name)?.alias_of ?? name;
  return { ...settings, model: id(settings.model), other: others(settings).map(id).join(",") };
}
