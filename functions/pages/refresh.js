// Fetches the page that it stands on every few seconds while the page says so, and puts the new <main> in place of the
// old one if it differs. Without it the page is the same, and has a link that does the same.
"use strict";

(() => {
  const SECONDS = 5;
  let shown = null;

  const kept = (root) => new Set([...root.querySelectorAll("details[open][id]")].map((one) => one.id));

  const put = (fresh, old) => {
    const open = kept(old);
    const closed = new Set([...old.querySelectorAll("details[id]:not([open])")].map((one) => one.id));
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const focused = focus && (focus.id || (focus.closest("[id]") || {}).id);
    const isSummary = focus && focus.tagName === "SUMMARY";
    const href = focus && !focus.id && focus.tagName === "A" ? focus.getAttribute("href") : null;
    const next = document.importNode(fresh, true);
    for (const one of next.querySelectorAll("details[id]")) {
      if (open.has(one.id)) one.open = true;
      if (closed.has(one.id)) one.open = false;
    }
    const [x, y] = [window.scrollX, window.scrollY];
    old.replaceWith(next);
    const found = focused && document.getElementById(focused);
    const link = href && [...next.querySelectorAll("a")].find((one) => one.getAttribute("href") === href);
    const target = link || (found && isSummary ? found.querySelector("summary") : found);
    if (target) target.focus({ preventScroll: true });
    window.scrollTo(x, y);
  };

  const look = async () => {
    const old = document.querySelector("main[data-refresh]");
    if (!old) return;
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        if (answer.status === 401 || answer.status === 403 || answer.status === 404 || answer.redirected) return;
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.querySelector("main");
          if (fresh && fresh.innerHTML !== shown) {
            shown = fresh.innerHTML;
            put(fresh, old);
            document.title = page.title;
          }
        }
      } catch {
        // The network is away for a moment: the next look may find it.
      }
    }
    setTimeout(look, SECONDS * 1000);
  };

  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  shown = main.innerHTML;
  setTimeout(look, SECONDS * 1000);
})();
