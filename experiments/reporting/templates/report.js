"use strict";
(() => {
  const clips = [...document.querySelectorAll(".clip")];
  const cells = [...document.querySelectorAll("button[data-cell]")];
  const scopes = [...document.querySelectorAll("input[name=scope]")];
  const state = document.getElementById("state");
  const clear = document.getElementById("clear");
  let scope = "misclassified";
  let cell = null; // the chosen button of the confusion matrix, or of a list of errors

  const isMisclassified = (clip) => clip.dataset.wrong !== undefined;
  const placeIn = (clip, cell) => clip.dataset.cell.split(" ").indexOf(cell.dataset.cell);
  const isIn = (clip, cell) => placeIn(clip, cell) >= 0;

  // Of a label's errors the worst come first; everything else is in the page's own order.
  function sort() {
    const rank = (clip) => (cell && isIn(clip, cell) ? Number(clip.dataset.rank.split(" ")[placeIn(clip, cell)]) : 0);
    for (const clip of [...clips].sort((a, b) => rank(b) - rank(a))) clip.parentNode.append(clip);
  }

  function show() {
    let shown = 0;
    if (clips.length && clips[0].dataset.rank !== undefined) sort();
    for (const clip of clips) {
      const visible = cell ? isIn(clip, cell) : scope === "all" || isMisclassified(clip);
      if (!visible) clip.querySelector("audio")?.pause();
      clip.hidden = !visible;
      shown += visible;
    }
    for (const other of cells) other.setAttribute("aria-pressed", String(other === cell));
    for (const input of scopes) input.checked = !cell && input.value === scope;
    clear.hidden = !cell;
    const what = cell ? cell.dataset.what : scope === "all" ? "" : state.dataset.wrong;
    state.textContent = `${shown} of ${clips.length} clips${what && ": " + what}`;
  }

  for (const button of cells) {
    button.addEventListener("click", () => {
      cell = button === cell ? null : button;
      show();
    });
  }
  for (const input of scopes) {
    input.addEventListener("change", () => {
      [scope, cell] = [input.value, null];
      show();
    });
  }
  clear.addEventListener("click", () => {
    const last = cell;
    cell = null;
    show();
    last.focus();
  });

  // Plays from a place, whether or not the browser already knows the file's length.
  function playFrom(audio, seconds) {
    audio.dataset.start = seconds;
    if (audio.readyState > 0) audio.currentTime = seconds;
    audio.play().catch(() => {}); // a file that cannot be played has its own message
  }

  for (const clip of clips) {
    const audio = clip.querySelector("audio");
    if (!audio) continue;
    const strip = clip.querySelector(".strip");
    const playhead = clip.querySelector(".playhead");
    const start = Number(audio.dataset.start);
    audio.addEventListener("loadedmetadata", () => {
      audio.currentTime = Number(audio.dataset.start);
    });
    audio.addEventListener("timeupdate", () => {
      playhead.style.left = `${Math.min(100, (100 * audio.currentTime) / strip.dataset.seconds)}%`;
    });
    audio.addEventListener("play", () => {
      playhead.hidden = false;
      for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    });
    audio.addEventListener("error", () => {
      clip.querySelector(".problem").hidden = false;
    });
    clip.querySelector(".play").addEventListener("click", () => playFrom(audio, start));
    strip.addEventListener("click", (event) => {
      const box = strip.getBoundingClientRect();
      playFrom(audio, ((event.clientX - box.left) / box.width) * strip.dataset.seconds);
    });
  }

  // Files are opened when their player comes near the screen, not all at once.
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) entry.target.preload = "metadata";
    },
    { rootMargin: "300px" },
  );
  for (const audio of document.querySelectorAll("audio")) near.observe(audio);
  show();
})();
