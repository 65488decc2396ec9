/* The permalink: every setting of a view, in the URL's hash. The key is never part of it. */

export const VIEWS = ["solve", "compare", "training", "pass", "recovery", "runs"];

/** What an empty link means. Types follow the default: numbers, booleans, strings. */
export const DEFAULTS = Object.freeze({
  view: "solve",
  op: 4,
  facts: 4, // the most facts that the problem states; 0 is no bound
  template: "zoo",
  mode: "forward",
  seed: 1,
  stratum: "", // the kind of item of the served task; "" asks an op-graph problem
  model: "latest",
  other: "base", // several are joined by commas
  run: "",
  at: "", // training view: the checkpoint under the slider; "" is the last
  runs: "", // the runs that are drawn, joined by commas; "" is the first
  stage: "", // of the first of them; "" is the newest
  first: 0, // the range of steps that is drawn
  last: 0, // 0 is as far as there are steps
  kept: 0, // the step whose rollouts are shown; 0 is the last that is kept
  status: "", // of the rollouts in the list; "" is any
  row: -1, // the open rollout
  overlay: "", // what is laid over its tokens
  temperature: 1, // greedy decoding misleads here: letters are noise, and the likeliest one may be taken
  draw: 0, // the sampling seed
  problems: 1,
  samples: 16,
  step: -1, // the open step, or the open cell of the recovery map; -1 is none
  heat: false,
  prefix: "", // the edited trace that the model goes on from
  go: false, // whether opening the link asks the model
});

/** Whom Compare sets against `model`: ids or aliases. */
export const others = (settings) => settings.other.split(",");

function parse(name, text) {
  const fallback = DEFAULTS[name];
  if (typeof fallback === "boolean") return text === "1";
  if (typeof fallback !== "number") return text;
  const value = Number(text);
  return text !== "" && Number.isFinite(value) ? value : fallback;
}

/** Settings from a hash such as "#compare?op=7&model=demo@40"; unknown names are ignored. */
export function read(hash) {
  const [view, query = ""] = hash.replace(/^#/, "").split("?", 2);
  const settings = { ...DEFAULTS, view: VIEWS.includes(view) ? view : DEFAULTS.view };
  for (const [name, text] of new URLSearchParams(query)) {
    if (name in DEFAULTS && name !== "view") settings[name] = parse(name, text);
  }
  return settings;
}

/** The hash of settings; what equals its default is left out. */
export function write(settings) {
  const query = new URLSearchParams();
  for (const name of Object.keys(DEFAULTS)) {
    const value = settings[name];
    if (name === "view" || value === DEFAULTS[name]) continue;
    query.set(name, typeof value === "boolean" ? (value ? "1" : "0") : String(value));
  }
  const text = query.toString().replaceAll("%40", "@").replaceAll("%2C", ",");
  return `#${settings.view}${text ? `?${text}` : ""}`;
}
