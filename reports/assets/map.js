// The map of tracks, drawn by Plotly. Selecting a track lists its neighbours by predicted and true factors.
"use strict";

const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star"];
const N_FOUND = 12; // maximum number of search results
const NARROW = 700; // width in CSS pixels below which the legend is under the map
const COLOUR_BAR = { title: { text: "cosine distance of predicted and true factors", side: "right" }, x: 0, xanchor: "right" };
const CONFIG = { responsive: true, scrollZoom: false, displayModeBar: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function nameOf(map, row) {
  const { id, title, artist } = map.names;
  return title ? `${title[row]} – ${artist[row]}` : id[row];
}

// Colours are those of the other charts, in light or dark mode.
function colour(number) {
  return getComputedStyle(document.body).getPropertyValue(`--c${number}`).trim();
}

// Plotly interprets some HTML in labels, so names are escaped.
function plain(text, length) {
  const shown = [...text].length > length ? `${[...text].slice(0, length - 1).join("")}…` : text;
  return shown.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function hoverText(map, row) {
  const lines = [plain(nameOf(map, row), 80)];
  for (const [kind, values] of Object.entries(map.kinds)) lines.push(`${kind}: ${plain(values[row], 50)}`);
  if (map.error[row] != null) lines.push(`error: ${map.error[row].toFixed(3)}`);
  return lines.join("<br>");
}

// The most frequent kinds have a colour and a symbol each; all others share the last.
function groupRows(values) {
  const groups = new Map();
  values.forEach((value, row) => {
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(row);
  });
  const ranked = [...groups].sort(([, a], [, b]) => b.length - a.length);
  if (ranked.length <= SYMBOLS.length) return ranked.sort(([a], [b]) => a.localeCompare(b));
  const rest = ranked.splice(SYMBOLS.length - 1).flatMap(([, rows]) => rows);
  return [...ranked, ["others", rest]];
}

function hasWebGL() {
  return document.createElement("canvas").getContext("webgl") !== null;
}

const TYPE = hasWebGL() ? "scattergl" : "scatter";

function trace(map, rows, name, marker) {
  return {
    type: TYPE,
    mode: "markers",
    name,
    x: rows.map((row) => map.x[row]),
    y: rows.map((row) => map.y[row]),
    customdata: rows,
    text: rows.map((row) => hoverText(map, row)),
    hoverinfo: "text",
    marker: { size: 7, opacity: 0.85, ...marker },
  };
}

function traces(map, colouring) {
  if (colouring === "error") {
    const rows = [...map.x.keys()].filter((row) => map.error[row] !== null);
    const color = rows.map((row) => map.error[row]);
    const colorscale = [[0, colour(1)], [1, colour(2)]]; // both visible in light and dark mode
    const marker = { color, colorscale, showscale: true, colorbar: COLOUR_BAR };
    return [{ ...trace(map, rows, "error", marker), showlegend: false }];
  }
  const values = map.kinds[colouring] ?? map.x.map(() => "tracks");
  return groupRows(values).map(([kind, rows], i) =>
    trace(map, rows, plain(kind, 30), { color: colour(i + 1), symbol: SYMBOLS[i] }),
  );
}

function lines(map, chosen) {
  const ends = map.predicted[chosen].flatMap((row) => [chosen, row, null]);
  const along = (axis) => ends.map((row) => (row === null ? null : axis[row]));
  const line = { color: colour(5), width: 1 };
  return { type: TYPE, mode: "lines", x: along(map.x), y: along(map.y), line, hoverinfo: "skip", showlegend: false };
}

function highlight(map, chosen) {
  const ring = (rows, name, symbol, color) => ({
    ...trace(map, rows, name, { size: 13, symbol, opacity: 1, color, line: { width: 2, color } }),
    hoverinfo: "skip",
  });
  if (chosen === null) return [];
  const rings = [ring(map.predicted[chosen], "neighbours, predicted", "circle-open", colour(5))];
  if (map.true[chosen]) rings.push(ring(map.true[chosen], "neighbours, true", "square-open", colour(3)));
  return [lines(map, chosen), ...rings, ring([chosen], "chosen", "star", colour(5))];
}

function layout() {
  const style = getComputedStyle(document.body);
  const axis = { visible: false };
  return {
    uirevision: "constant", // keep zoom and legend after a click
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.color, family: style.fontFamily },
    hoverlabel: { bgcolor: style.backgroundColor, font: { color: style.color }, align: "left" },
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "pan", // a finger scrolls the page
    margin: { l: 8, r: 8, t: 36, b: 8 }, // room for the buttons at the top
    xaxis: axis,
    yaxis: axis,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style.color },
    legend: { orientation: innerWidth < NARROW ? "h" : "v" },
    showlegend: true,
  };
}

function playLink(map, row) {
  if (!map.audio[row]) return "";
  const link = make("a", { className: "play", href: map.audio[row] }, "▶");
  link.setAttribute("aria-label", `Play ${nameOf(map, row)}`);
  return link;
}

function choice(map, row, choose) {
  const button = make("button", { type: "button" }, make("bdi", {}, nameOf(map, row)));
  button.addEventListener("click", () => choose(row));
  return make("li", {}, playLink(map, row), " ", button);
}

function neighbourList(map, rows, others, title, choose) {
  const items = rows.map((row) => {
    const item = choice(map, row, choose);
    item.classList.toggle("shared", others.includes(row));
    return item;
  });
  return make("section", {}, make("h5", {}, title), make("ol", {}, ...items));
}

function neighbourLists(map, row, choose) {
  const predicted = map.predicted[row];
  const truth = map.true[row] ?? [];
  const lists = [neighbourList(map, predicted, truth, "By predicted factors", choose)];
  if (map.true[row]) lists.push(neighbourList(map, truth, predicted, "By true factors", choose));
  else lists.push(make("p", {}, map.true.length ? "No true factors: this track has no interactions." : "No dataset was given."));
  const n = predicted.filter((other) => truth.includes(other)).length;
  const title = make("h4", {}, playLink(map, row), " Neighbours of ", make("bdi", {}, nameOf(map, row)));
  const count = map.true[row] ? `${n} of ${truth.length} are in both lists (✓).` : "";
  return [title, make("p", {}, count), make("div", {}, ...lists)];
}

function showMap(container, map) {
  const colourings = [...Object.keys(map.kinds), ...(map.error.length ? ["error"] : [])];
  const select = make("select", {}, ...colourings.map((name) => make("option", { value: name }, name)));
  const search = make("input", { type: "search", autocomplete: "off" });
  const found = make("ul", { className: "map-found" });
  const plot = make("div", { className: "map-plot" });
  const neighbours = make("div", { className: "neighbours" });
  neighbours.setAttribute("aria-live", "polite");
  neighbours.append(make("p", {}, "Click a track, or find it by name, to list its neighbours."));
  const tools = make("div", { className: "map-tools" }, make("label", {}, "Find a track", search));
  if (colourings.length) tools.prepend(make("label", {}, "Colour by", select));
  container.append(tools, found, plot, neighbours);

  const names = map.x.map((_, row) => nameOf(map, row).toLowerCase());
  let chosen = null;
  const drawn = new Map(); // Plotly recomputes only arrays that it has not seen before
  const draw = () => {
    const colouring = select.value;
    if (!drawn.has(colouring)) drawn.set(colouring, traces(map, colouring));
    Plotly.react(plot, [...drawn.get(colouring), ...highlight(map, chosen)], layout(), CONFIG);
  };
  const choose = (row) => {
    chosen = row;
    neighbours.replaceChildren(...neighbourLists(map, row, choose));
    draw();
    const link = neighbours.querySelector(".play");
    if (link && map.audio[row]) play(link);
  };
  draw();
  plot.on("plotly_click", (event) => choose(event.points[0].customdata));
  select.addEventListener("change", draw);
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    const rows = wanted ? [...names.keys()].filter((row) => names[row].includes(wanted)).slice(0, N_FOUND) : [];
    found.replaceChildren(...rows.map((row) => choice(map, row, choose)));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawn.clear();
    draw();
  });
}
