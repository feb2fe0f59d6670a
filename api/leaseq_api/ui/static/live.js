// Bring the regions of a page up to date, let ages grow, and remember theme and zone.
// The server rings (server-sent events name what has changed), and the page fetches its regions again by ETag. No HTML comes by the
// stream. Every page works without this file.
"use strict";
(() => {
  const AGAIN_MS = 2000, POLL_MS = 5000;
  const body = document.body, marks = new Map();
  const started = performance.now(), pageAt = Date.parse(body.dataset.at ?? "");
  let source = null, failures = 0, poll = 0, on = true, lastRing = performance.now();

  // Times. The clock is that of Postgres: its time at the page, and the monotonic clock since then.
  let zone = stored("leaseq-zone") === "local" ? "local" : "UTC";
  const now = () => pageAt + performance.now() - started;
  function age(seconds) {
    seconds = Math.max(seconds, 0);
    if (seconds < 1) return `${seconds.toFixed(1)}\u202fs`;
    for (const [size, unit, smaller, name] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
      if (seconds < size) continue;
      const rest = Math.floor((seconds % size) / smaller), whole = `${Math.floor(seconds / size)}\u202f${unit}`;
      return rest && size > 60 ? `${whole} ${rest}\u202f${name}` : whole;
    }
    return `${Math.floor(seconds)}\u202fs`;
  }
  const local = new Intl.DateTimeFormat("sv-SE", {dateStyle: "short", timeStyle: "medium"});
  const zoneName = new Intl.DateTimeFormat("en", {timeZoneName: "short"});
  function told(when) {
    if (zone === "UTC") return `${when.toISOString().slice(0, 19).replace("T", " ")} UTC`;
    return `${local.format(when)} ${zoneName.formatToParts(when).find((part) => part.type === "timeZoneName").value}`;
  }
  function tick() {
    if (!Number.isNaN(pageAt)) for (const each of document.querySelectorAll("time.age")) {
      const text = age((now() - Date.parse(each.dateTime)) / 1000);
      if (each.textContent !== text) each.textContent = text;
    }
  }
  function writeTimes(root = document) {
    for (const each of root.querySelectorAll("time.when")) each.textContent = told(new Date(each.dateTime));
    tick();
  }

  // Regions.
  const regions = () => [...document.querySelectorAll("[data-live]")];
  function busy(region) {
    const selection = getSelection();
    return Boolean(document.querySelector("dialog[open]"))
      || Boolean(region.querySelector("input:checked, [data-busy]"))
      || (region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"))
      || (!selection.isCollapsed && region.contains(selection.anchorNode));
  }
  async function refresh(region) {
    const part = region.dataset.part ?? region.id;
    const address = new URL(location.href);
    address.hash = "";
    address.searchParams.set("part", part);
    const headers = marks.has(part) ? {"If-None-Match": marks.get(part)} : {};
    const answer = await fetch(address, {headers, credentials: "same-origin", redirect: "manual"});
    if (answer.type === "opaqueredirect") return location.reload(); // The session has ended.
    if (answer.status === 304) return undefined;
    if (!answer.ok) throw new Error(`${answer.status}`);
    const text = await answer.text();
    const present = document.getElementById(region.id);
    if (!present || busy(present)) return undefined;
    marks.set(part, answer.headers.get("ETag"));
    morph(present, text);
    return undefined;
  }
  function morph(present, text) {
    const incoming = new DOMParser().parseFromString(text, "text/html").body.firstElementChild;
    writeTimes(incoming);
    const before = new Map([...present.querySelectorAll("td, .figure")].map((cell) => [cell, cell.textContent]));
    const open = [...present.querySelectorAll("details[id][open]")].map((each) => each.id);
    for (const id of open) incoming.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
    Idiomorph.morph(present, incoming, {morphStyle: "outerHTML", ignoreActiveValue: true, restoreFocus: true});
    for (const [cell, was] of before) {
      if (!cell.isConnected || cell.textContent === was || cell.querySelector("time.age, .meter")) continue;
      cell.classList.remove("is-changed");
      requestAnimationFrame(() => cell.classList.add("is-changed"));
    }
    document.dispatchEvent(new CustomEvent("leaseq:morphed", {detail: present.id}));
  }
  async function ring(topics) {
    const wanted = regions().filter((region) => topics === null
      || region.dataset.live.split(" ").some((topic) => topics.includes(topic)));
    const outcomes = await Promise.allSettled(wanted.map(refresh));
    const failed = outcomes.some((outcome) => outcome.status === "rejected");
    setStale(failed);
    if (!failed) lastRing = performance.now();
    return !failed;
  }
  function setStale(stale) {
    body.classList.toggle("is-stale", stale);
    let banner = document.querySelector(".banner");
    if (!stale) return banner?.remove();
    if (!banner) {
      banner = Object.assign(document.createElement("p"), {className: "banner"});
      banner.setAttribute("role", "status");
      document.getElementById("main").before(banner);
    }
    banner.textContent = `Not live since ${age((performance.now() - lastRing) / 1000)}. The page shows what was true then, and tries again.`;
    return undefined;
  }

  // The stream. It is closed while the page is hidden, because a browser has few connections to one origin.
  const button = document.getElementById("live");
  function open() {
    if (source || !on || document.hidden || !regions().length) return;
    source = new EventSource("/ui/live");
    source.addEventListener("changed", (event) => { failures = 0; stopPolling(); say(); ring(JSON.parse(event.data).topics); });
    source.onopen = () => { failures = 0; stopPolling(); setStale(false); say(); if (marks.size) ring(null); };
    source.onerror = () => {
      close();
      failures += 1;
      if (failures >= 2) { setStale(true); startPolling(); }
      say();
      setTimeout(open, AGAIN_MS);
    };
  }
  function close() { source?.close(); source = null; }
  function startPolling() { if (!poll) poll = setInterval(() => document.hidden || ring(null), POLL_MS); }
  function stopPolling() { clearInterval(poll); poll = 0; }
  function say() {
    if (!button) return;
    button.hidden = !regions().length;
    button.setAttribute("aria-pressed", String(on));
    button.className = `script plain ${!on ? "" : failures ? "is-warn" : "is-good"}`;
    button.title = !on ? "Not live: press . to go on" : failures ? "The stream is away; trying again" : "Live";
  }
  function toggle() {
    on = !on;
    if (on) { open(); ring(null); } else { close(); stopPolling(); }
    say();
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); stopPolling(); } else if (on) { open(); ring(null); }
  });

  // Switches.
  function stored(name) { try { return localStorage.getItem(name); } catch { return null; } }
  function store(name, value) { try { localStorage.setItem(name, value); } catch { /* not kept */ } }
  const zoneButton = document.getElementById("zone"), themeButton = document.getElementById("theme");
  function sayZone() { if (zoneButton) zoneButton.textContent = zone; }
  function switchZone() { zone = zone === "UTC" ? "local" : "UTC"; store("leaseq-zone", zone); sayZone(); writeTimes(); }
  const dark = () => (document.documentElement.dataset.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  function sayTheme() {
    if (!themeButton) return;
    themeButton.textContent = dark() ? "\u263e" : "\u2600";
    themeButton.setAttribute("aria-label", dark() ? "Theme: dark. Switch to light" : "Theme: light. Switch to dark");
  }
  function switchTheme() { const next = dark() ? "light" : "dark"; document.documentElement.dataset.theme = next; store("leaseq-theme", next); sayTheme(); }
  zoneButton?.addEventListener("click", switchZone);
  themeButton?.addEventListener("click", switchTheme);
  button?.addEventListener("click", toggle);
  for (const each of document.querySelectorAll(".script")) each.hidden = false;
  document.addEventListener("click", (event) => {
    const copied = event.target.closest?.("[data-copy]");
    if (copied) navigator.clipboard?.writeText(copied.dataset.copy).then(() => toast("Copied"), () => undefined);
  });
  function toast(text) {
    const shown = Object.assign(document.createElement("p"), {className: "toast", textContent: text});
    document.getElementById("toasts").append(shown);
    setTimeout(() => shown.remove(), 4000);
  }

  // A message about what was done goes after ten seconds, and is not shown again by a reload.
  const done = document.querySelector("[data-brief]");
  if (done) {
    const address = new URL(location.href);
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
    setTimeout(() => done.remove(), 10_000);
  }

  sayZone(); sayTheme(); say(); writeTimes(); open();
  setInterval(() => document.hidden || tick(), 1000);
  window.leaseq = {toggle, switchZone, toast, ring};
})();
