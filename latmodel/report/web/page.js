"use strict";
// Draws the page from its data. Values are SI; only `show` converts.
const D = JSON.parse(document.getElementById("data").textContent);
// Okabe and Ito's colours, which colour-blind readers tell apart.
const C = { blue: "#0072b2", orange: "#e69f00", green: "#009e73", red: "#d55e00", sky: "#56b4e9", pink: "#cc79a7", grey: "#999999", black: "#000000", yellow: "#f0e442" };
const three = x => Number(x.toPrecision(3)).toString();
const show = {
  seconds: s => s == null ? "unknown" : s >= 1 ? three(s) + " s" : s >= 1e-3 ? three(s * 1e3) + " ms" : three(s * 1e6) + " µs",
  bytes: b => b == null ? "unknown" : b >= 2 ** 30 ? three(b / 2 ** 30) + " GiB" : three(b / 2 ** 20) + " MiB",
  count: n => n == null ? "unknown" : n >= 1e9 ? three(n / 1e9) + "B" : n >= 1e6 ? three(n / 1e6) + "M" : three(n / 1e3) + "k",
};
const named = row => row.num_hidden_layers + "×" + row.hidden_size;
const narrow = window.innerWidth < 600;
const layout = more => Object.assign({ margin: { l: 60, r: 15, t: 20, b: 50 }, font: { size: 12 }, legend: { orientation: "h", y: narrow ? -0.5 : -0.25, yanchor: "top" }, paper_bgcolor: "#fff", plot_bgcolor: "#fff" }, more);
const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const axis = more => Object.assign({ gridcolor: "#e5e5e5", zeroline: false }, more);
const plot = (id, traces, more) => Plotly.newPlot(id, traces, layout(more), config);
const text = row => named(row) + "<br>" + show.count(row.num_parameters) + " parameters<br>" + show.seconds(row.response_s) + "<br>" + show.bytes(row.peak_memory_bytes) + "<br>" + row.bound + Object.keys(row).filter(k => k.startsWith("response_s@")).map(k => "<br>" + k.slice(11) + ": " + show.seconds(row[k])).join("");

function drawFront() {
  const dots = (rows, name, marker) => ({ name, mode: "markers", type: "scatter", x: rows.map(r => r.quality), y: rows.map(r => r.response_s), text: rows.map(text), hoverinfo: "text", marker });
  const rest = D.rows.filter(r => !r.best && !r.tied), tied = D.rows.filter(r => r.tied), best = [D.rows[D.best]];
  const some = D.rows.filter((r, i) => r.response_s_low != null && (r.best || i % Math.ceil(D.rows.length / 40) === 0));
  const traces = [
    { name: 100 * D.level + " % interval", mode: "lines", type: "scatter", hoverinfo: "skip", line: { color: "#bbb", width: 1 }, x: some.flatMap(r => [r.quality, r.quality, null]), y: some.flatMap(r => [r.response_s_low, r.response_s_high, null]) },
    dots(rest, "frontier", { color: C.blue, size: 5 }), dots(tied, "tied with the best", { color: C.sky, size: 8, symbol: "square" }),
    dots(best, "best", { color: C.orange, size: 16, symbol: "star", line: { width: 1, color: C.black } }),
  ];
  for (const [i, one] of D.compared.slice(1).entries()) {
    const q = one.quality;
    if (q != null) traces.push({ name: one.name, mode: "markers", type: "scatter", x: [q], y: [one.row.response_s], text: [one.name + "<br>" + text(one.row)], hoverinfo: "text", marker: { size: 11, symbol: "diamond", color: [C.red, C.green, C.pink, C.black][i % 4] } });
  }
  const unplaced = D.compared.filter(one => one.quality == null).map(one => one.name);
  if (unplaced.length) document.getElementById("unplaced").textContent = "Not on the picture: " + unplaced.join(", ") + ", which the quality score does not cover.";
  const shapes = D.budget_s == null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: D.budget_s, y1: D.budget_s, line: { color: C.red, dash: "dash", width: 1 } }];
  const marks = D.budget_s == null ? [] : [{ xref: "paper", x: 0.01, y: Math.log10(D.budget_s), text: "budget " + show.seconds(D.budget_s), showarrow: false, yanchor: "bottom", xanchor: "left" }];
  const positive = D.rows.every(r => r.quality > 0);
  plot("front", traces, { xaxis: axis({ title: { text: D.quality }, type: positive ? "log" : "linear" }), yaxis: axis({ title: { text: "response in s" }, type: "log" }), shapes, annotations: marks });
}

const G = D.grid, at = G.stops.map(() => 0);
function flat(indices) { return indices.reduce((sum, i, d) => sum * G.stops[d].length + i, 0); }
function stopText(d, i) {
  const value = G.stops[d][i];
  return value == null ? "16 bits" : G.names[d] === "FFN ratio" ? three(value) : String(value);
}
function setting(indices) {
  const i = flat(indices), of = {};
  for (const name of Object.keys(G.values)) of[name] = G.values[name][i];
  return of;
}
function sayTried() {
  const v = setting(at);
  at.forEach((i, d) => { document.getElementById("out" + d).textContent = stopText(d, i); });
  if (v.bound != null) v.bound = ["host", "memory", "compute"][v.bound];
  say(document.getElementById("tried"), v);
}
function say(out, v) {
  for (const [name, value] of Object.entries(v)) out.dataset[name] = value == null ? "" : value;
  if (v.response_s == null) { out.textContent = "The runtime does not run this number format."; return; }
  const worth = v.effective_parameters == null ? "" : ", worth " + show.count(v.effective_parameters);
  const fits = v.peak_memory_bytes <= D.memory_bytes ? "" : ", more than fits";
  const late = D.budget_s != null && v.response_s > D.budget_s ? ", over the budget" : "";
  const band = v.response_s_low == null ? " (interval unknown)" : " (" + show.seconds(v.response_s_low) + " – " + show.seconds(v.response_s_high) + ")";
  out.textContent = show.count(v.num_parameters) + " parameters" + worth + ". Response " + show.seconds(v.response_s) + band + late + ": first token after " + show.seconds(v.prefill_s) + ", then " + show.seconds(v.decode_s_per_token) + " a token. " + show.bytes(v.peak_memory_bytes) + fits + ". Bound by " + (v.bound === "host" ? "the host" : v.bound) + ".";
}
function drawSliders() {
  const box = document.getElementById("sliders");
  G.names.forEach((name, d) => {
    const label = document.createElement("label"), input = document.createElement("input"), value = document.createElement("output");
    input.type = "range"; input.min = 0; input.max = G.stops[d].length - 1; input.step = 1; input.id = "in" + d; input.value = nearest(d);
    value.id = "out" + d; value.htmlFor = "in" + d;
    at[d] = Number(input.value);
    input.disabled = G.stops[d].length < 2;
    input.setAttribute("aria-label", name);
    input.addEventListener("input", () => { at[d] = Number(input.value); input.setAttribute("aria-valuetext", stopText(d, at[d])); sayTried(); });
    label.append(name + ": ", value, input); box.append(label);
  });
  sayTried();
}
function drawLive() {
  const form = document.getElementById("live"), out = document.getElementById("lived"), best = D.rows[D.best];
  const fields = { layers: best.num_hidden_layers, hidden: best.hidden_size, ffn: "", heads: "", kv_heads: "", prompt: best.prompt_tokens, generate: best.new_tokens, batch: best.batch_size };
  for (const [name, value] of Object.entries(fields)) {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "number"; input.min = 0; input.name = name; input.value = value;
    label.append(name.replace("_", " ") + ": ", input); document.getElementById("fields").append(label);
  }
  form.hidden = false;
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const reply = await fetch("/predict?" + new URLSearchParams(new FormData(form))), row = await reply.json();
    if (row.error) out.textContent = row.error; else say(out, row);
  });
}
function nearest(d) {
  const best = D.rows[D.best], wanted = { layers: best.num_hidden_layers, width: best.hidden_size, "FFN ratio": best.intermediate_size / best.hidden_size, batch: best.batch_size, prompt: best.prompt_tokens }[G.names[d]];
  if (G.names[d] === "runtime") return Math.max(G.stops[d].indexOf(best.runtime), 0);
  if (wanted == null) return 0;
  return G.stops[d].reduce((least, stop, i) => Math.abs(Math.log(stop / wanted)) < Math.abs(Math.log(G.stops[d][least] / wanted)) ? i : least, 0);
}

function drawParts() {
  const names = D.compared.map(one => one.name), colours = [C.red, C.orange, C.yellow, "#8a5a00", C.black, C.blue, C.sky, C.green, C.pink, C.grey];
  const traces = [...D.parts.host, ...D.parts.device].map((part, i) => {
    const x = D.compared.map(one => (one.prefill[part] || 0) + (one.decode[part] || 0));
    return { name: part, type: "bar", orientation: "h", y: names, x, hovertext: x.map(s => part + ": " + show.seconds(s)), hoverinfo: "text", marker: { color: colours[i] } };
  });
  plot("parts", traces, { barmode: "stack", xaxis: axis({ title: { text: "seconds of a response" } }), yaxis: { automargin: true, autorange: "reversed" } });
}

function drawBlock() {
  const bars = (key, row, colours) => {
    let start = 0;
    return D.compared[0].block.filter(o => o[key] > 0).map((o, i) => {
      const bar = { type: "bar", orientation: "h", y: [row], x: [o[key] * 1e6], base: [start * 1e6], hovertext: [row + ", " + o.operator + ": " + show.seconds(o[key])], hoverinfo: "text", showlegend: false, marker: { color: colours[i % 2], line: { color: "#fff", width: 1 } } };
      start += o[key];
      return bar;
    });
  };
  plot("block", [...bars("device_s", "device", [C.blue, C.sky]), ...bars("host_s", "host", [C.red, C.orange])], { barmode: "overlay", xaxis: axis({ title: { text: "µs" } }), yaxis: { automargin: true } });
}

function drawRoof() {
  const roof = D.roof, ridge = roof.flops_per_s / roof.bytes_per_s, traces = [{ name: "roof", mode: "lines", type: "scatter", hoverinfo: "skip", line: { color: C.black, width: 1.5 }, x: [0.1, ridge, ridge * 30], y: [0.1 * roof.bytes_per_s, roof.flops_per_s, roof.flops_per_s] }];
  for (const [phase, symbol, color] of [["prefill", "circle", C.blue], ["decode", "triangle-up", C.orange]]) {
    const some = D.compared[0].operators.filter(o => o.phase === phase && o.flops > 0 && o.bytes > 0);
    traces.push({ name: phase, mode: "markers", type: "scatter", x: some.map(o => o.flops / o.bytes), y: some.map(o => o.flops / o.device_s), hovertext: some.map(o => o.operator + ": MFU " + three(100 * o.mfu) + " %, MBU " + three(100 * o.mbu) + " %"), hoverinfo: "text", marker: { size: 9, symbol, color } });
  }
  plot("roof", traces, { xaxis: axis({ type: "log", title: { text: "FLOPs a byte" } }), yaxis: axis({ type: "log", title: { text: "FLOP/s" } }) });
}

function drawSure() {
  const some = D.compared.filter(one => one.row.response_s_low != null), bar = (name, low, high, color, width) => ({ name, mode: "lines", type: "scatter", line: { color, width }, hoverinfo: "skip", x: some.flatMap(o => [o.row[low], o.row[high], null]), y: some.flatMap(o => [o.name, o.name, null]) });
  const traces = [bar("any host", "response_s_low", "response_s_high", C.sky, 10)];
  if (some.some(o => o.row.response_s_low_published != null)) traces.push(bar("the host that was measured", "response_s_low_published", "response_s_high_published", C.blue, 4));
  traces.push({ name: "predicted", mode: "markers", type: "scatter", x: some.map(o => o.row.response_s), y: some.map(o => o.name), marker: { color: C.black, size: 8 }, text: some.map(o => show.seconds(o.row.response_s)), hoverinfo: "text" });
  plot("sure", traces, { xaxis: axis({ title: { text: "response in s, " + 100 * D.level + " % intervals" }, rangemode: "tozero" }), yaxis: { automargin: true, autorange: "reversed" } });
}

function drawCompare() {
  const table = document.createElement("table"), columns = { model: o => o.name, shape: o => named(o.row), parameters: o => show.count(o.row.num_parameters), TTFT: o => show.seconds(o.row.prefill_s), TPOT: o => show.seconds(o.row.decode_s_per_token), response: o => show.seconds(o.row.response_s), memory: o => show.bytes(o.row.peak_memory_bytes), bound: o => o.row.bound };
  const head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of Object.keys(columns)) { const cell = document.createElement("th"); cell.textContent = name; head.append(cell); }
  for (const one of D.compared) { const row = body.insertRow(); for (const cell of Object.values(columns)) row.insertCell().textContent = cell(one); }
  document.getElementById("compare").append(table);
}

function link(id, body, type) { document.getElementById(id).href = URL.createObjectURL(new Blob([body], { type })); }

drawFront(); drawSliders(); drawParts(); drawBlock(); drawRoof(); drawSure(); drawCompare();
if (D.live) drawLive();
link("json", JSON.stringify({ rows: D.rows, compared: D.compared, notes: D.notes }, null, 1), "application/json");
link("csvlink", document.getElementById("csv").value, "text/csv");
