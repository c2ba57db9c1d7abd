"use strict";
(() => {
  const columns = JSON.parse(document.body.dataset.columns);
  const suspects = [...document.querySelectorAll(".suspect")];
  const state = document.getElementById("chosen");
  const saves = { exclude: document.getElementById("save-exclude"), relabel: document.getElementById("save-relabel") };
  const encoder = new TextEncoder();

  const box = (suspect, kind) => suspect.querySelector(`input.${kind}`);

  // The rows of audit.csv whose box is checked.
  function chosenRows(kind) {
    const chosen = suspects.filter((suspect) => box(suspect, kind)?.checked);
    return chosen.flatMap((suspect) => JSON.parse(suspect.dataset.rows));
  }

  function show() {
    const counts = {};
    for (const kind of Object.keys(saves)) {
      counts[kind] = new Set(chosenRows(kind).map((row) => row[0])).size;
      saves[kind].disabled = counts[kind] === 0;
    }
    const clips = (count) => `${count} clip${count === 1 ? "" : "s"}`;
    state.textContent =
      counts.exclude + counts.relabel === 0
        ? "Nothing chosen"
        : `${clips(counts.exclude)} to leave out, ${clips(counts.relabel)} to relabel`;
  }

  // A name of a file need not be text: Python writes its other bytes as halves of characters, which become bytes again.
  function bytesOf(text) {
    const bytes = [];
    for (const character of text) {
      const code = character.codePointAt(0);
      if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
      else bytes.push(...encoder.encode(character));
    }
    return new Uint8Array(bytes);
  }

  const field = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

  function save(kind) {
    const lines = [columns, ...chosenRows(kind)].map((row) => row.map(field).join(",") + "\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(lines.map(bytesOf), { type: "text/csv" }));
    link.download = `${kind}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  for (const [kind, button] of Object.entries(saves)) button.addEventListener("click", () => save(kind));
  for (const suspect of suspects) {
    for (const [kind, other] of [["exclude", "relabel"], ["relabel", "exclude"]]) {
      box(suspect, kind)?.addEventListener("change", (event) => {
        if (event.target.checked && box(suspect, other)) box(suspect, other).checked = false;
        show();
      });
    }
  }
  for (const all of document.querySelectorAll(".choose-all")) {
    all.addEventListener("change", () => {
      for (const suspect of all.closest("section").querySelectorAll(".suspect")) {
        box(suspect, "exclude").checked = all.checked;
        if (all.checked && box(suspect, "relabel")) box(suspect, "relabel").checked = false;
      }
      show();
    });
  }

  const players = [...document.querySelectorAll("audio")];
  // Embedded sound stands in the page once, however many places play it.
  for (const audio of players) {
    if (audio.dataset.source) audio.src = document.getElementById(audio.dataset.source).querySelector("audio").src;
  }
  for (const audio of players) {
    audio.addEventListener("play", () => {
      for (const other of players) if (other !== audio) other.pause();
    });
    audio.addEventListener("error", () => {
      audio.parentNode.querySelector(".problem").hidden = false;
    });
  }
  // Files are opened when their player comes near the screen, not all at once.
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) entry.target.preload = "metadata";
    },
    { rootMargin: "300px" },
  );
  for (const audio of players) near.observe(audio);
  show();
})();
