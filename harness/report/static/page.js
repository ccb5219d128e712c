// On every page: light or dark, and tables that say where they go on.
"use strict";
(() => {
  // Light or dark: the system's choice until the reader makes one, which is kept where the browser lets a file keep it.
  const root = document.documentElement;
  const read = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a page from disk may not */ } };
  const chosen = read();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const show = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      keep(root.dataset.theme);
      show();
    });
    system.addEventListener("change", show);
    show();

    // A table that is wider than the page fades where it goes on, and says so above.
    const watch = new ResizeObserver((seen) => seen.forEach(({ target }) => edge(target)));
    const edge = (box) => {
      const wider = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("more", wider && box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
      const hint = box.previousElementSibling;
      if (hint?.classList.contains("sideways")) hint.hidden = !wider;
      else if (wider) {
        const made = document.createElement("p");
        made.className = "sideways dim";
        made.textContent = "Wider than the page: scroll sideways →";
        box.before(made);
      }
    };
    for (const box of document.querySelectorAll(".scroll")) {
      box.addEventListener("scroll", () => edge(box), { passive: true });
      watch.observe(box);
    }
  });
})();
