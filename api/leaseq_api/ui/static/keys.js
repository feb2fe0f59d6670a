// The keyboard. No single key does anything that cannot be undone. Off in fields, and as a whole by "?".
"use strict";
(() => {
  let chord = 0, at = -1;
  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => !row.closest("details:not([open])"));
  const enabled = () => { try { return localStorage.getItem("leaseq-keys") !== "off"; } catch { return true; } };
  function move(step) {
    const listed = rows();
    if (!listed.length) return;
    at = Math.min(Math.max(at + step, 0), listed.length - 1);
    for (const row of listed) row.classList.toggle("is-cursor", row === listed[at]);
    const link = listed[at].querySelector("a");
    if (link) link.focus(); else listed[at].scrollIntoView({block: "nearest"});
  }
  function go(key) {
    const link = [...document.querySelectorAll(".menu a")].find((each) => each.dataset.key === key);
    if (link) location.assign(link.href);
  }
  function help() {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", "Keyboard");
    const list = document.createElement("dl");
    list.className = "facts";
    const pages = [...document.querySelectorAll(".menu a")].map((each) => [`g ${each.dataset.key}`, each.textContent]);
    const lines = [["/", "Go to"], ["?", "this help"], ...pages, ["j k", "next, previous row"], ["Enter", "open"], ["[ ]", "newest, older page"],
      [".", "live on or off"], ["u", "UTC or local time"], ["Esc", "close"]];
    for (const [key, word] of lines) {
      const term = document.createElement("dt"), meaning = document.createElement("dd"), box = document.createElement("kbd");
      box.textContent = key; term.append(box); meaning.textContent = word; list.append(term, meaning);
    }
    const title = document.createElement("h2"), off = document.createElement("button"), close = document.createElement("button");
    title.textContent = "Keyboard";
    off.textContent = enabled() ? "Turn these keys off" : "Turn these keys on";
    off.addEventListener("click", () => { try { localStorage.setItem("leaseq-keys", enabled() ? "off" : "on"); } catch { /* not kept */ } dialog.close(); });
    close.textContent = "Close"; close.autofocus = true;
    close.addEventListener("click", () => dialog.close());
    const buttons = document.createElement("div");
    buttons.className = "actions"; buttons.append(close, off);
    dialog.append(title, list, buttons);
    dialog.addEventListener("close", () => dialog.remove());
    document.getElementById("dialogs").append(dialog);
    dialog.showModal();
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable], dialog")) {
      if (event.key === "Escape" && event.target.matches("input")) event.target.blur();
      return;
    }
    if (event.key === "?") return void (event.preventDefault(), help());
    if (!enabled()) return;
    if (chord && performance.now() - chord < 1500) { chord = 0; return void go(event.key); }
    const page = {"[": "first", "]": "next"}[event.key];
    if (page) document.querySelector(`a[rel="${page}"]`)?.click();
    else if (event.key === "g") chord = performance.now();
    else if (event.key === "/") { event.preventDefault(); document.getElementById("goto")?.focus(); }
    else if (event.key === "f") { const field = document.querySelector("main [data-filter]"); if (field) { event.preventDefault(); field.focus(); } }
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === ".") window.leaseq?.toggle();
    else if (event.key === "u") window.leaseq?.switchZone();
  });
})();
