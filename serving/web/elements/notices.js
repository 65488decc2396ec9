/* Errors and empty states in words. */

import { h } from "./dom.js";

/** An error as a box: what happened, what the server said, which field, and the id to report it by. */
export function failure(error, retry = null) {
  const details = [
    error.param && ["Field", error.param],
    error.retryAfter && ["Try again in", `${error.retryAfter} s`],
    error.requestId && ["Request id", error.requestId],
  ].filter(Boolean);
  return h(
    "div",
    { class: "notice", role: "alert" },
    h("h3", {}, error.headline ?? "The page failed"),
    h("p", {}, error.message),
    details.length
      ? h(
          "dl",
          {},
          details.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
        )
      : null,
    retry && h("button", { type: "button", class: "plain", "data-live": true, onclick: retry }, "Try again"),
  );
}

/** A calm sentence where there is nothing to show. */
export function empty(title, sentence) {
  return h("div", { class: "empty" }, h("h3", {}, title), h("p", {}, sentence));
}
