/* What a saved page carries: the link it was saved at, the time, and the recorded answers. */

import { byId } from "../elements/dom.js";

/** {link, time, answers} of a saved page; null on a page that a server sent. */
export async function opened() {
  if (!("saved" in document.documentElement.dataset)) return null;
  const bytes = Uint8Array.from(atob(byId("answers").textContent), (char) => char.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}
