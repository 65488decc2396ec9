/* Sets light or dark before the first paint; a classic script, since modules run too late for that. */

(function () {
  const stored = localStorage.getItem("interplay.theme");
  const dark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
