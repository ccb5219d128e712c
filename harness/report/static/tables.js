// Tables: sorting by a heading, filtering by verdict and text, and the facts behind a number.
"use strict";
(() => {
  const filters = document.getElementById("filters");

  // What a cell is sorted by: the value it carries, or its text; numbers as numbers, what is missing last.
  const keyOf = (cell) => {
    if (!cell) return null;
    let text = cell.textContent.trim();
    if (cell.classList.contains("place")) text = cell.dataset[filters.elements.by.value] ?? "";
    else if ("value" in cell.dataset) text = cell.dataset.value;
    if (text === "" || text === "·") return null;
    const number = Number(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a < b ? -1 : a > b ? 1 : 0;
  };

  const sortable = (table) => {
    const lines = [...table.tHead.rows];
    const heads = [];
    // The column that a heading stands over, with row and column spans counted in.
    const taken = lines.map(() => []);
    lines.forEach((line, row) => {
      for (const head of line.cells) {
        let column = 0;
        while (taken[row][column]) column += 1;
        for (let y = row; y < row + head.rowSpan; y += 1)
          for (let x = column; x < column + head.colSpan; x += 1) taken[y][x] = true;
        if (!("plain" in head.dataset)) heads.push([head, column]);
      }
    });
    for (const [head, column] of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // A first click puts large numbers on top, as one reads a table of results; text goes from A to Z.
        const sample = [...table.tBodies].flatMap((body) => [...body.rows]).map((r) => keyOf(r.cells[column]));
        const numeric = sample.some((key) => typeof key === "number");
        const now = head.getAttribute("aria-sort");
        const next = now ? (now === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
        for (const [other] of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", next);
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter((row) => !("fixed" in row.dataset));
          const keyed = rows.map((row) => [keyOf(row.cells[column]), row]);
          keyed.sort(([a], [b]) => {
            if (a === null || b === null) return (a === null) - (b === null);
            return next === "ascending" ? compare(a, b) : compare(b, a);
          });
          body.append(...keyed.map(([, row]) => row));
        }
      });
    }
  };
  document.querySelectorAll("table[data-sortable]").forEach(sortable);

  if (filters) {
    filters.hidden = false;
    const shown = document.getElementById("shown");
    const apply = () => {
      const verdicts = new Set([...filters.querySelectorAll("[name=verdict]:checked")].map((box) => box.value));
      const every = verdicts.size === filters.querySelectorAll("[name=verdict]").length;
      const text = filters.elements.text.value.trim().toLowerCase();
      let count = 0;
      let total = 0;
      for (const row of document.querySelectorAll("tr[data-row]")) {
        const words = [...row.querySelectorAll("th")].map((head) => head.textContent).join(" ").toLowerCase();
        const named = !text || words.includes(text);
        const places = [...row.querySelectorAll("td.place")];
        if (places.length) {
          let any = false;
          for (const place of places) {
            const away = !every && !verdicts.has(place.dataset.verdict);
            place.classList.toggle("away", away);
            any ||= !away;
          }
          row.hidden = !any || !named;
        } else {
          row.hidden = !named || (row.dataset.verdict !== undefined && !verdicts.has(row.dataset.verdict));
          total += 1;
          count += !row.hidden;
        }
      }
      shown.textContent = `${count} of ${total} cells`;
    };
    filters.addEventListener("input", apply);
    filters.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  // The facts behind a number: shown while a number is hovered or has the focus, gone with Escape.
  const source = document.getElementById("facts");
  const details = document.getElementById("details");
  if (source && details) {
    const facts = JSON.parse(source.textContent);
    let open = null;
    let leaving = 0;
    // Labels and texts in turn, as numbers of texts.
    const list = (numbers) => {
      const dl = document.createElement("dl");
      for (let at = 0; at < numbers.length; at += 2) {
        const line = document.createElement("div");
        const dt = document.createElement("dt");
        const dd = document.createElement("dd");
        dt.textContent = facts.texts[numbers[at]];
        facts.texts[numbers[at + 1]].split("`").forEach((piece, index) => {
          const part = document.createElement(index % 2 ? "code" : "span");
          part.textContent = piece;
          dd.append(part);
        });
        line.append(dt, dd);
        dl.append(line);
      }
      return dl;
    };
    const hide = () => {
      if (open) open.removeAttribute("aria-describedby");
      open = null;
      details.hidden = true;
    };
    const show = (target) => {
      clearTimeout(leaving);
      if (open === target) return;
      hide();
      const id = target.dataset.cell;
      details.replaceChildren(list(facts.cells[id]));
      const making = facts.makings[facts.made[id]];
      if (making) {
        const head = document.createElement("p");
        head.className = "head";
        head.textContent = facts.texts[making[0]];
        details.append(head, list(making.slice(1)));
      }
      details.hidden = false;
      open = target;
      target.setAttribute("aria-describedby", "details");
      const box = target.getBoundingClientRect();
      const width = details.offsetWidth;
      const height = details.offsetHeight;
      const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - width - 8));
      const below = box.bottom + 6 + height < innerHeight || box.top < height + 6;
      details.style.left = `${left + scrollX}px`;
      details.style.top = `${(below ? box.bottom + 6 : box.top - height - 6) + scrollY}px`;
    };
    const leave = () => {
      clearTimeout(leaving);
      leaving = setTimeout(hide, 250);
    };
    for (const target of document.querySelectorAll("[data-cell]")) {
      target.addEventListener("mouseenter", () => show(target));
      target.addEventListener("mouseleave", leave);
      target.addEventListener("focus", () => show(target));
      target.addEventListener("blur", leave);
      if (target.tagName === "BUTTON") target.addEventListener("click", () => show(target));
    }
    details.addEventListener("mouseenter", () => clearTimeout(leaving));
    details.addEventListener("mouseleave", leave);
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard && !document.execCommand;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy);
      const said = document.getElementById("copied");
      try {
        await navigator.clipboard.writeText(text.textContent);
        said.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(text);
        said.textContent = "selected; press Ctrl+C";
      }
    });
  }
})();
