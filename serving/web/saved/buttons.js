/* The buttons that save what stands on the page: the page itself, or its picture. */

import { byId, h } from "../elements/dom.js";
import { write } from "../settings/link.js";
import { pinned } from "../settings/models.js";
import { pageFile, TooLarge } from "./file.js";
import { picture } from "./picture.js";

/** Connects the buttons. */
export function listenSave(app) {
  byId("save-page").addEventListener("click", () => app.runOne(() => saying(() => savePage(app))));
  byId("save-svg").addEventListener("click", () => app.runOne(() => saying(() => saveSvg(app))));
}

async function saying(save) {
  const said = byId("copied");
  try {
    said.textContent = await save();
  } catch (error) {
    said.textContent = `Not saved: ${[error.headline, error.message].filter(Boolean).join(". ")}`;
    if (!(error instanceof TooLarge)) throw error;
  }
}

async function savePage(app) {
  const { client, settings } = app;
  const { recording, now: time } = client;
  const record = { link: write({ ...settings, go: settings.go || settings.view === "training" }), time, answers: recording };
  const facts = [
    ["Saved", new Date(time * 1000).toISOString().replace("T", " ").replace(/\..*/, " UTC")],
    ["Link", write(pinned(app))],
    ...weights(recording),
  ];
  const file = await pageFile(client, record, facts);
  download(file, `${nameOf(app)}.html`);
  return `Saved, ${Math.ceil(file.size / 1000).toLocaleString("en")} kB`;
}

// Of Solve the server draws the picture, with the judgement on it; of the other views it is what stands here.
async function saveSvg(app) {
  const { client, view } = app;
  const file = view.picture
    ? await client.file("v1/probe/draw", view.picture())
    : new Blob([picture(byId("stage"))], { type: "image/svg+xml" });
  download(file, `${nameOf(app)}.svg`);
  return "Saved";
}

function nameOf({ settings }) {
  const { view, op, seed, stratum, runs } = settings;
  const about = view === "runs" ? runs : `${stratum || `op${op}`}-seed${seed}`;
  return [view, about].filter(Boolean).join("-").replace(/[^\w.@-]+/g, "-");
}

function download(file, name) {
  const url = URL.createObjectURL(file);
  h("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

// Whose weights answered, by the answers' own word; the last line of one that was given up may be cut.
function weights(recording) {
  const found = new Map();
  const look = (_, value) => {
    if (value?.requested && value.weight_hash) found.set(value.model, value.weight_hash);
    return value;
  };
  for (const [, { text, whole }] of recording.toJSON()) {
    const lines = text.split(/\n(?:data: )?/);
    if (!whole) lines.pop();
    for (const line of lines) if (line.startsWith("{")) JSON.parse(line, look);
  }
  return [...found].map(([model, hash]) => [model, `weights ${hash}`]);
}
