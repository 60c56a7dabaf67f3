"use strict";
document.querySelector("nav details").open = matchMedia("(min-width: 75rem)").matches;
const leading = /^[\[<\s]*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?!\d*:)/i;
const text = (row, column) => row.cells[column].textContent.trim().replaceAll("−", "-");
const empty = (value) => ["", "-", "missing", "base line"].includes(value);
const number = (value) => Number(value.match(leading)[1]);
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const isNumeric = (texts) => texts.every((value) => empty(value) || leading.test(value));
  headers.forEach((header, column) => {
    const texts = [...body.rows].map((row) => text(row, column));
    const cells = [header, ...[...body.rows].map((row) => row.cells[column])];
    const flushRight = isNumeric(texts) && !texts.every(empty);
    cells.forEach((cell) => cell.classList.toggle("number", flushRight));
  });
  headers.forEach((header, column) => header.firstChild.addEventListener("click", () => {
    const down = header.getAttribute("aria-sort") === "ascending";
    headers.forEach((each) => each.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows];
    const texts = rows.map((row) => text(row, column));
    const numeric = isNumeric(texts);
    rows.sort((a, b) => {
      const [left, right] = [text(a, column), text(b, column)];
      if (empty(left) || empty(right)) return empty(left) - empty(right);
      const order = numeric ? number(left) - number(right)
        : left.localeCompare(right, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows);
  }));
}
for (const input of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const count = input.closest(".filter").querySelector("output");
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" "));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].toLowerCase().includes(word));
    });
    count.value = words.length
      ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
}
