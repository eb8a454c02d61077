(() => {
  const cards = [...document.querySelectorAll(".card")];
  if (!cards.length) return;
  const buttons = [...document.querySelectorAll("[data-filter]")];
  const search = document.querySelector(".search");
  const state = { change: "", category: "", search: "" };

  function show() {
    let shown = 0;
    for (const card of cards) {
      const fits = (!state.change || card.dataset.change === state.change)
        && (!state.category || card.dataset.category === state.category)
        && state.search.toLowerCase().split(/\s+/).every((word) => card.dataset.search.includes(word));
      card.hidden = !fits;
      shown += fits;
    }
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(state[button.dataset.filter] === button.dataset.value));
    }
    document.querySelector(".shown").textContent = `${shown} of ${cards.length} shown`;
    document.querySelector(".nothing").hidden = shown > 0;
  }

  // #filter=wrong-right&category=open&search=blue, so that a view can be linked to.
  const names = { change: "filter", category: "category", search: "search" };
  function read() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const key in names) state[key] = wanted.get(names[key]) ?? "";
    search.value = state.search;
    show();
  }
  function change(key, value) {
    state[key] = value;
    const wanted = new URLSearchParams();
    for (const name in names) if (state[name]) wanted.set(names[name], state[name]);
    history.replaceState(null, "", `#${wanted}`);
    show();
  }

  for (const button of buttons) {
    button.addEventListener("click", () => change(button.dataset.filter, button.dataset.value));
  }
  search.addEventListener("input", () => change("search", search.value));
  document.querySelector("[data-reset]").addEventListener("click", () => {
    history.replaceState(null, "", "#");
    read();
    search.focus();
  });
  addEventListener("hashchange", read);
  read();

  const dialog = document.querySelector(".enlarged");
  for (const card of cards) {
    card.querySelector(".picture").addEventListener("click", () => {
      const from = card.querySelector("img"), to = dialog.querySelector("img");
      to.src = from.src;
      to.alt = from.alt;
      dialog.classList.toggle("tiny", from.parentElement.classList.contains("tiny"));
      dialog.querySelector("p").textContent = card.querySelector(".question").textContent;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();

for (const figure of document.querySelectorAll("[data-points]")) {
  const points = JSON.parse(figure.dataset.points);
  const drawing = figure.querySelector(".drawing"), readout = figure.querySelector(".readout");
  const [first, last] = JSON.parse(figure.dataset.span);
  const lines = figure.querySelectorAll(".pointer");
  figure.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const step = first + (event.clientX - box.left) / box.width * (last - first);
    const near = points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
    const rate = near[3] === null ? "" : `, learning rate ${near[3].toPrecision(3)}`;
    readout.textContent = `step ${near[0]}: loss ${near[1].toFixed(3)}, smoothed ${near[2].toFixed(3)}${rate}`;
    readout.hidden = false;
    for (const line of lines) {
      const x = (near[0] - first) / (last - first) * 1000;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.setAttribute("visibility", "visible");
    }
  });
  figure.addEventListener("pointerleave", () => {
    readout.hidden = true;
    for (const line of lines) line.setAttribute("visibility", "hidden");
  });
}
