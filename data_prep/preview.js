{
  const readout = document.querySelector(".readout"), rows = document.querySelector(".rows");
  const buttons = [...document.querySelectorAll("button[data-show]")];
  let current = null;

  function point(token) {
    current?.classList.remove("current");
    current = token;
    if (!token) { readout.textContent = ""; return; }
    token.classList.add("current");
    const { at, id, length } = token.dataset;
    const last = Number(at) + Number(length ?? 1) - 1;
    readout.textContent = last > at ? `tokens ${at} to ${last}, the first with id ${id}` : `token ${at}, id ${id}`;
  }
  const visible = (token) => token && token.getClientRects().length > 0;

  for (const text of document.querySelectorAll(".text")) {
    text.addEventListener("pointerover", (event) => { if (event.target !== text) point(event.target); });
    text.addEventListener("pointerleave", () => point(null));
    text.addEventListener("focus", () => point([...text.children].find(visible) ?? null));
    text.addEventListener("blur", () => point(null));
    text.addEventListener("keydown", (event) => {
      const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
      if (!step) return;
      event.preventDefault();
      let token = current?.parentElement === text ? current[step] : text.firstElementChild;
      while (token && !visible(token)) token = token[step];
      if (token) { point(token); token.scrollIntoView({ block: "nearest" }); }
    });
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      rows.dataset.show = button.dataset.show;
      point(null);
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
  }

  const dialog = document.querySelector(".enlarged");
  for (const tile of document.querySelectorAll(".tile")) {
    tile.addEventListener("click", () => {
      const from = tile.querySelector("img"), to = dialog.querySelector("img");
      to.src = from.src;
      to.alt = from.alt;
      to.style.imageRendering = tile.classList.contains("small-picture") ? "pixelated" : "";
      dialog.querySelector("p").textContent = `${from.alt}: ${tile.title}`;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
