"use strict";
// Sorting: a heading's button orders its table by that column, numbers by value and words by the alphabet; a second
// press turns the order round. What is undefined stays at the end.
function keyOf(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent.trim().toLowerCase();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}
function compareKeys(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}
function sortBy(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
  const first = typeof keyOf(body.rows[0], column) === "number" ? "descending" : "ascending";
  const order = heading.ariaSort === first ? (first === "ascending" ? "descending" : "ascending") : first;
  const sign = order === "ascending" ? 1 : -1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => (a === null) - (b === null) || sign * compareKeys(a, b));
  body.append(...rows.map(([, row]) => row));
}
// Passports: what a number is and where it comes from, shown below for the number that is pointed at or focused.
const panel = document.getElementById("passport");
function showPassport(cell) {
  const origin = cell && document.getElementById(cell.dataset.origin);
  panel.textContent = cell ? [cell.dataset.passport, origin ? origin.textContent : ""].join("\n").trim() : "";
  panel.hidden = !cell;
}
function moveFocus(cell, key) {
  const rows = [...cell.closest("tbody").rows];
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] || 0, down = { ArrowUp: -1, ArrowDown: 1 }[key] || 0;
  let target = cell, row = rows.indexOf(cell.parentElement), column = cell.cellIndex;
  do {  // past cells that are no numbers with a passport
    row += down;
    column += across;
    target = rows[row] && rows[row].cells[column];
  } while (target && !target.dataset.passport);
  if (!target) return;
  cell.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}
for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("thead button")) button.addEventListener("click", () => sortBy(button.parentElement));
  const cells = [...table.querySelectorAll("td[title]")];
  cells.forEach((cell, i) => {
    cell.dataset.passport = cell.title;
    cell.removeAttribute("title");
    cell.tabIndex = i ? -1 : 0;
  });
  table.addEventListener("mouseover", (event) => showPassport(event.target.closest("td[data-passport]")));
  table.addEventListener("mouseleave", () => showPassport(null));
  table.addEventListener("focusin", (event) => showPassport(event.target.closest("td[data-passport]")));
  table.addEventListener("focusout", () => showPassport(null));
  table.addEventListener("keydown", (event) => {
    if (event.key === "Escape") showPassport(null);
    if (!event.key.startsWith("Arrow") || event.target.tagName !== "TD") return;
    event.preventDefault();
    moveFocus(event.target, event.key);
  });
}
for (const card of document.querySelectorAll(".card[title]")) {
  card.dataset.passport = card.title;
  card.removeAttribute("title");
  card.tabIndex = 0;
  for (const event of ["mouseenter", "focus"]) card.addEventListener(event, () => showPassport(card));
  for (const event of ["mouseleave", "blur"]) card.addEventListener(event, () => showPassport(null));
}
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});
