// Thumbnails: arrow keys move the focus to the nearest picture in their direction.
"use strict";
(() => {
  const links = [...document.querySelectorAll(".thumbs a")];
  for (const hint of document.querySelectorAll(".keys")) hint.hidden = links.length < 2;
  // Distance of a picture from another in a direction; along the direction counts once, across it twice.
  const away = (from, to, [x, y]) => {
    const a = from.getBoundingClientRect();
    const b = to.getBoundingClientRect();
    const along = (b.left - a.left) * x + (b.top - a.top) * y;
    const across = Math.abs((b.left - a.left) * y) + Math.abs((b.top - a.top) * x);
    return along > 1 && (y || across < a.height / 2) ? along + 2 * across : Infinity;
  };
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const direction = directions[event.key];
    const here = links.indexOf(document.activeElement);
    if (!direction || here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    let next = links.reduce((best, link) =>
      away(links[here], link, direction) < (best ? away(links[here], best, direction) : Infinity) ? link : best, null);
    // At the end of a line go on with the next one, and back.
    if (!next && direction[0]) next = links[here + direction[0]];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
})();
