"use strict";
(() => {
  const root = document.documentElement;
  addEventListener("error", (event) => { root.dataset.error = event.message; });

  const run = JSON.parse(document.getElementById("data").textContent);
  const timeline = document.getElementById("timeline");
  const papers = [...timeline.querySelectorAll("svg.time")];
  const [ticks, mark, tip] = ["ticks", "mark", "tip"].map((id) => document.getElementById(id));
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const NARROWEST = 5; // seconds
  const FAR = 4; // pixels at which a fault is still under the pointer
  let [from, to] = [0, run.length];

  const clock = (seconds, digits = 0) => {
    const [minutes, rest] = [Math.floor(seconds / 60), (seconds % 60).toFixed(digits)];
    return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
  };
  const area = () => ticks.parentElement.getBoundingClientRect();
  const percent = (at) => (100 * (at - from)) / (to - from);

  function look(left, right) {
    const width = Math.min(Math.max(right - left, NARROWEST), run.length);
    from = Math.min(Math.max(left, 0), run.length - width);
    to = from + width;
    for (const paper of papers) {
      const height = paper.viewBox.baseVal.height;
      paper.setAttribute("viewBox", `${from} 0 ${width} ${height}`);
    }
    const widest = (70 * width) / Math.max(area().width, 70);
    const step = STEPS.find((seconds) => seconds >= widest) ?? STEPS.at(-1);
    ticks.replaceChildren();
    for (let at = Math.ceil(from / step) * step; at < to; at += step) {
      const tick = document.createElement("span");
      tick.style.left = `${percent(at)}%`;
      if (percent(at) < 96) tick.dataset.time = clock(at);
      ticks.append(tick);
    }
    document.getElementById("range").textContent = `${clock(from)} to ${clock(to)}`;
    hide();
  }

  function zoom(how) {
    const [middle, width] = [(from + to) / 2, to - from];
    const views = {
      in: [middle - width / 4, middle + width / 4],
      out: [middle - width, middle + width],
      left: [from - width / 2, to - width / 2],
      right: [from + width / 2, to + width / 2],
      all: [0, run.length],
    };
    look(...views[how]);
  }

  // What is under the pointer
  function row(name, value) {
    const line = document.createElement("tr");
    line.append(...[name, value].map((words) => Object.assign(document.createElement("td"), { textContent: words })));
    return line;
  }

  function words(tag, said, name = "") {
    return Object.assign(document.createElement(tag), { textContent: said, className: name });
  }

  function about([number, nemesis, target, began, ended, remark]) {
    const line = document.createElement("div");
    const length = ended - began < 0.4 ? "" : `, ${(ended - began).toFixed(1)} s`;
    const rest = ` ${number} at ${target || "all"}, ${clock(began, 1)}${length}${remark ? `, ${remark}` : ""}`;
    line.append(words("b", nemesis), words("span", rest, "soft"));
    return line;
  }

  const latency = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`);

  function figures(at) {
    const bucket = Math.floor(at / run.bucket);
    const table = document.createElement("table");
    for (const [name, values] of Object.entries(run.lines)) table.append(row(name, values[bucket]));
    for (const [name, values] of Object.entries(run.latencies)) {
      if (values[bucket] !== null && values[bucket] !== undefined) table.append(row(name, latency(values[bucket])));
    }
    return table;
  }

  function show(event) {
    const { left, width, right } = area();
    if (event.clientX < left || event.clientX > right) return hide();
    const at = from + ((event.clientX - left) / width) * (to - from);
    const bar = event.target.closest("[data-fault]");
    const tolerance = (FAR * (to - from)) / width;
    const open = run.faults.filter(([, , , began, ended]) => began - tolerance <= at && at <= ended + tolerance);
    const first = bar && run.faults[bar.dataset.fault];
    const phase = run.phases.find(([, began, ended]) => began <= at && at < ended);
    const listed = first ? [first, ...open.filter((fault) => fault !== first)] : open;
    tip.replaceChildren(words("div", `${clock(at, 1)}${phase ? `, ${phase[0]}` : ""}`, "soft"), ...listed.slice(0, 8).map(about), figures(at));
    tip.hidden = false;
    tip.style.left = `${event.clientX + 16 + tip.offsetWidth > innerWidth ? Math.max(8, event.clientX - 16 - tip.offsetWidth) : event.clientX + 16}px`;
    tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8))}px`;
    const [began, ended] = drag !== null ? [Math.min(drag, at), Math.max(drag, at)] : first ? [first[3], first[4]] : [at, at];
    mark.style.display = "block";
    mark.style.left = `${percent(began)}%`;
    mark.style.width = `${percent(ended) - percent(began)}%`;
    return at;
  }

  function hide() {
    tip.hidden = true;
    mark.style.display = "none";
  }

  let drag = null;
  let moved = false;
  timeline.addEventListener("pointerdown", (event) => {
    moved = false;
    if (event.pointerType === "mouse" && event.button === 0) drag = show(event) ?? null;
    else show(event);
  });
  timeline.addEventListener("pointermove", (event) => {
    const at = show(event);
    if (drag !== null && at !== undefined) moved ||= Math.abs(percent(at) - percent(drag)) > 0.5;
  });
  addEventListener("pointerup", (event) => {
    const at = drag === null ? undefined : show(event);
    const began = drag;
    drag = null;
    if (at !== undefined && moved) look(Math.min(began, at), Math.max(began, at));
  });
  timeline.addEventListener("pointerleave", () => drag === null && hide());
  timeline.addEventListener("dblclick", () => zoom("all"));
  timeline.addEventListener("click", (event) => {
    const bar = event.target.closest("[data-fault]");
    if (bar && !moved) location.hash = run.faults[bar.dataset.fault][0];
  });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(button.dataset.zoom));
  }
  addEventListener("resize", () => look(from, to));

  // A link into something folded unfolds it
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);

  document.getElementById("copy").addEventListener("click", async (event) => {
    const command = document.getElementById("command");
    getSelection().selectAllChildren(command);
    try {
      await navigator.clipboard.writeText(command.textContent);
    } catch {
      document.execCommand("copy"); // an older way, for where a file may not reach the clipboard
    }
    event.target.textContent = "Copied";
  });

  look(0, run.length);
  unfold();
  root.dataset.width = root.scrollWidth;
  root.dataset.ready = "yes";
})();
