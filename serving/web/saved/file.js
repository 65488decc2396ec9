/* Saves the page as one file: its own styles and modules, and the answers that stand on it. It opens without a server. */

import { h } from "../elements/dom.js";

const ENTRY = "main.js";
const IMPORT = /\bfrom "(\.[^"]+)"/g;
const MOST = 3_000_000; // bytes, so that it can be sent

/** A file that would be too large to send. */
export class TooLarge extends Error {
  constructor(size) {
    const found = `The file would have ${(size / 1e6).toFixed(1)} MB, and ${MOST / 1e6} MB is the most`;
    super(`${found}. Ask for less at once: fewer samples, checkpoints or rollouts.`);
  }
}

/** The page as a Blob. `record` is {link, time, answers} and `facts` are [name, text] for the note on top. */
export async function pageFile(client, record, facts) {
  const page = new DOMParser().parseFromString(await client.text(""), "text/html");
  const [styles, modules, answers] = await Promise.all([
    stylesOf(client, page),
    modulesOf(client),
    packed(JSON.stringify(record)),
  ]);
  trim(page, record.link);
  const nonce = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const script = (type, text) => h("script", { type, nonce }, text);
  page.head.prepend(h("meta", { charset: "utf-8" }), policy(nonce));
  page.head.append(script("importmap", JSON.stringify({ imports: modules })));
  page.querySelector("main").prepend(note(facts));
  page.body.append(
    h("script", { type: "application/octet-stream", id: "answers" }, answers),
    script("module", `import "${ENTRY}";`),
  );
  // As text: this page's own policy forbids a style element, even in a document that is only made to be written out.
  const style = `<style nonce="${nonce}">${styles}</style></head>`;
  const html = page.documentElement.outerHTML.replace("</head>", () => style);
  const file = new Blob(["<!doctype html>\n", html], { type: "text/html" });
  if (file.size > MOST) throw new TooLarge(file.size);
  return file;
}

function policy(nonce) {
  const content = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'`;
  return h("meta", { "http-equiv": "Content-Security-Policy", content });
}

// What the file brings along itself goes, and what only a server can do.
function trim(page, link) {
  const { theme } = document.documentElement.dataset;
  Object.assign(page.documentElement.dataset, { theme, saved: "" });
  for (const element of page.querySelectorAll("link, script, meta[charset]")) element.remove();
  for (const view of page.querySelectorAll("nav [data-view]"))
    if (!link.startsWith(view.getAttribute("href"))) view.remove();
  for (const fields of page.querySelectorAll("#bench fieldset")) fields.disabled = true;
}

function note(facts) {
  return h(
    "div",
    { class: "saved-note" },
    h("p", {}, h("strong", {}, "A saved page. "), "It shows what the server answered, and asks nobody."),
    h("noscript", {}, "Its own scripts draw it, and this reader does not run them."),
    h("dl", {}, facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
  );
}

async function stylesOf(client, page) {
  const sheets = [...page.querySelectorAll("link[rel=stylesheet]")].map((link) => client.text(link.getAttribute("href")));
  return (await Promise.all(sheets)).join("\n");
}

/** The modules by name, as data URLs; they import each other by these names. */
async function modulesOf(client) {
  const found = {};
  const read = async (name) => {
    found[name] = ""; // asked for
    const wanted = new Set();
    const text = (await client.text(`static/${name}`)).replace(IMPORT, (_, path) => {
      const full = new URL(path, `page:/${name}`).pathname.slice(1);
      wanted.add(full);
      return `from "${full}"`;
    });
    found[name] = `data:text/javascript,${encodeURIComponent(text)}`;
    await Promise.all([...wanted].filter((one) => !(one in found)).map(read));
  };
  await read(ENTRY);
  return found;
}

// Compressed, and in letters that are never markup.
async function packed(text) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  const reader = new FileReader();
  const read = new Promise((resolve) => reader.addEventListener("load", resolve));
  reader.readAsDataURL(await new Response(stream).blob());
  await read;
  return reader.result.slice(reader.result.indexOf(",") + 1);
}
