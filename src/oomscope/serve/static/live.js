"use strict";
// Without this script the page is complete; with it, it says what is going on and reloads when there is something new.
for (const place of document.querySelectorAll("[data-live]")) {
  const shown = Number(place.dataset.version);
  const events = new EventSource(place.dataset.live);
  events.addEventListener("state", (event) => {
    const now = JSON.parse(event.data);
    if (!now) { events.close(); return; }
    if (now.version > shown || (now.state !== "open" && now.version >= 0)) { events.close(); location.reload(); return; }
    if (now.progress) place.textContent = now.progress;
  });
}
