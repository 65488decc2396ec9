/* Draws anew what is on the page, for someone who is reading it: the focus and what was opened stay. */

/** Puts `children` in the place of those of `host`; an element is the same as before if it stands in the same place. */
export function redraw(host, ...children) {
  const focused = host.contains(document.activeElement) ? wayTo(document.activeElement, host) : null;
  const opened = [...host.querySelectorAll("details[open]")].map((details) => wayTo(details, host));
  host.replaceChildren(...children);
  for (const way of opened) follow(way, host)?.setAttribute("open", "");
  if (focused) follow(focused, host)?.focus({ preventScroll: true });
}

// The places to go through from `host`: of a child among the children, of its child among its own, and so on.
function wayTo(element, host) {
  const way = [];
  for (let at = element; at !== host; at = at.parentElement) way.unshift([...at.parentElement.children].indexOf(at));
  return way;
}

function follow(way, host) {
  return way.reduce((at, place) => at?.children[place], host);
}
