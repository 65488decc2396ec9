/* Sets light or dark before the first paint; a classic script, since modules run too late for that. */

(function () {
  let stored = null;
  try {
    stored = localStorage.getItem("interplay.theme");
  } catch {} // the browser may keep nothing for the page
  const dark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
