// Sorting, folding, playing, and loading of maps. Without this script all contents can be read, and links play.
"use strict";

document.documentElement.classList.add("scripted");

const ORDERS = {
  number: ["descending", "ascending", "none"],
  text: ["ascending", "descending", "none"],
};

// A click or Enter on a header sorts descending, ascending, and in the original order.
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

// A link to a folded part unfolds it.
function unfold(hash) {
  const target = hash.length > 1 && document.getElementById(hash.slice(1));
  for (let part = target && target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
}

addEventListener("hashchange", () => unfold(location.hash));
document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", () => unfold(link.hash)));
unfold(location.hash);

// Browsers that do not show folded contents on paper by the style sheet print them unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));

// The navigation marks the part at the top of the window.
function markCurrent() {
  const links = [...document.querySelectorAll("nav a")];
  const above = links.filter((link) => document.querySelector(link.hash).getBoundingClientRect().top < innerHeight / 3);
  const current = above.at(-1) ?? links[0];
  for (const link of links) {
    if (link !== current) link.removeAttribute("aria-current");
    else if (!link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "true");
      const list = link.closest("ul");
      list.scrollLeft = link.offsetLeft - list.offsetLeft - list.clientWidth / 3; // where it is wider than the window
    }
  }
}

addEventListener("scroll", markCurrent, { passive: true });
markCurrent();

// One player for the page: a click on a play link starts its recording, another click stops it.
const player = document.querySelector(".player");

function play(link) {
  const audio = player.querySelector("audio");
  const wasPlaying = link.hasAttribute("aria-current") && !audio.paused;
  document.querySelectorAll(".play[aria-current]").forEach((other) => other.removeAttribute("aria-current"));
  if (wasPlaying) {
    audio.pause();
    return;
  }
  const name = link.getAttribute("aria-label").replace(/^Play /, "");
  const shown = player.querySelector(".playing");
  link.setAttribute("aria-current", "true");
  player.hidden = false;
  shown.textContent = name;
  audio.src = link.href;
  audio.play().catch((error) => {
    if (error.name !== "AbortError") shown.textContent = `${name} cannot be played: its recording is missing or unknown to the browser.`;
  });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".play");
  if (!link) return;
  event.preventDefault();
  play(link);
});

// The map and its library of five megabytes are loaded when its part is unfolded.
function load(name) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: name, onload: resolve, onerror: reject });
    document.head.append(script);
  });
}

let library = null;

document.querySelectorAll(".map").forEach((container) => {
  const part = container.closest("details");
  const show = async () => {
    if (!part.open || container.dataset.shown) return;
    container.dataset.shown = "loading";
    library ??= load("plotly.min.js").then(() => load("map.js"));
    await Promise.all([library, load(container.dataset.script)]);
    showMap(container, window.trackMaps[container.dataset.script]);
    container.dataset.shown = "yes";
  };
  part.addEventListener("toggle", show);
  show();
});
