// Make every table sortable: a click or Enter on a header sorts descending, ascending, and in the original order.
"use strict";

document.documentElement.classList.add("scripted");

const ORDERS = {
  number: ["descending", "ascending", "none"],
  text: ["ascending", "descending", "none"],
};

function valueOf(row, column, kind) {
  const cell = row.cells[column];
  if (kind === "text") return cell.textContent;
  const value = Number(cell.dataset.value ?? NaN);
  return Number.isNaN(value) ? null : value;
}

// Missing numbers are last in both orders.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
}

function sortedRows(rows, column, kind, order) {
  if (order === "none") return rows;
  const sign = order === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => [row, row.classList.contains("family") ? null : valueOf(row, column, kind)]);
  return keyed.sort(([, a], [, b]) => compare(a, b, sign)).map(([row]) => row);
}

function makeSortable(table) {
  const headers = [...table.querySelectorAll("th[data-sort]")];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  headers.forEach((header, column) => {
    const kind = header.dataset.sort;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const orders = ORDERS[kind];
      const order = orders[(orders.indexOf(header.getAttribute("aria-sort") ?? "none") + 1) % orders.length];
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== "none") header.setAttribute("aria-sort", order);
      table.classList.toggle("sorted", order !== "none");
      body.append(...sortedRows(rows, column, kind, order));
    });
  });
}

document.querySelectorAll("section.table table").forEach(makeSortable);
