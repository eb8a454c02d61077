{
  const block = document.getElementById("gallery-data");
  const data = block && JSON.parse(block.textContent);
  const A_BLOCK = 24; // cards: a whole number of lines with 1, 2, 3 or 4 of them beside each other
  const AHEAD = 1200; // pixels around the window in which cards are kept drawn

  function gallery() {
    const section = document.getElementById("answers"), feed = section.querySelector(".cards");
    const search = section.querySelector(".search"), dialog = section.querySelector("dialog");
    const fields = [...section.querySelectorAll("[data-filter]")];
    const [ID, TASK, CATEGORY, QUESTION, REFERENCES, ANSWERS, PICTURES] = [0, 1, 2, 3, 4, 5, 6];
    const alone = data.names.length === 1;
    const start = { change: "", task: "", category: "", other: "1", search: "" };
    const state = { ...start };
    let matching = [], blocks = [], current = -1, opened = -1, words = null;

    // What a row is
    const side = (answer) => (answer[1] >= data.right ? "right" : "wrong");
    function kind(row, other = Number(state.other)) {
      const [first, second] = [row[ANSWERS][0], row[ANSWERS][alone ? 0 : other]];
      if (!first || !second) return "";
      return alone ? side(first) : `${side(first)}-${side(second)}`;
    }
    function text(row) {
      words ??= new Map();
      if (!words.has(row)) {
        const answers = row[ANSWERS].map((answer) => (answer ? answer[0] : ""));
        words.set(row, [row[ID], row[QUESTION], row[REFERENCES], ...answers].join("\n").toLowerCase());
      }
      return words.get(row);
    }
    const tests = {
      change: (row) => !state.change || kind(row) === state.change,
      task: (row) => state.task === "" || row[TASK] === Number(state.task),
      category: (row) => state.category === "" || row[CATEGORY] === Number(state.category),
      search: (row) => !state.search || state.search.toLowerCase().split(/\s+/).every((word) => text(row).includes(word)),
    };
    const fits = (row, but) => Object.entries(tests).every(([key, test]) => key === but || test(row));

    // Elements; text goes in as text, and is isolated so that its reading direction ends with it
    function make(tag, values = {}, ...inside) {
      const element = document.createElement(tag);
      for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
      element.append(...inside);
      return element;
    }
    function answers(row) {
      const list = make("dl", { class: "answers" });
      const add = (name, mark, sign, words, note) => {
        const said = make("dd", {}, ...(sign ? [make("span", { class: "sign", role: "img", "aria-label": mark }, sign), " "] : []));
        said.append(make("bdi", {}, words), ...(note ? [" ", make("span", { class: "small" }, note)] : []));
        list.append(make("div", { class: mark }, make("dt", {}, make("bdi", {}, name)), said));
      };
      add("Reference", "", "", row[REFERENCES]);
      row[ANSWERS].forEach((answer, place) => {
        if (!answer) return add(data.names[place], "unknown", "", "not asked");
        const part = answer[1] > 0 && answer[1] !== 1 ? `(${(100 * answer[1]).toFixed(1)} %)` : "";
        return add(alone ? "Answer" : data.names[place], side(answer), side(answer) === "right" ? "✓" : "✗", answer[0], part);
      });
      return list;
    }
    function meta(row) {
      const kindOf = alone ? "" : data.labels[kind(row)] ?? "";
      const parts = [data.tasks.length > 1 ? data.tasks[row[TASK]] : "", data.categories[row[CATEGORY]], kindOf, row[ID]];
      const line = make("p", { class: "meta small soft" });
      parts.filter(Boolean).forEach((part, place) => line.append(...(place ? [" · "] : []), make("bdi", {}, part)));
      return line;
    }
    function images(row) {
      return row[PICTURES].map((number, place) => make("img", {
        src: data.pictures[number], alt: `Picture ${row[PICTURES].length > 1 ? `${place + 1} ` : ""}of ${row[ID]}`,
        decoding: "async", ...(data.tiny[number] ? { class: "tiny" } : {}),
      }));
    }
    function card(place) {
      const row = matching[place], shown = images(row);
      const element = make("article", {
        class: shown.length ? "card panel" : "card panel bare", tabindex: place === Math.max(current, 0) ? 0 : -1,
        "aria-posinset": place + 1, "aria-setsize": matching.length, "aria-labelledby": `question-${place}`,
        "aria-keyshortcuts": "Enter", "data-place": place,
      });
      if (shown.length) {
        const button = make("button", { class: "picture", type: "button", tabindex: -1, "aria-label": `Enlarge ${row[ID]}` }, shown[0]);
        if (shown.length > 1) button.append(make("span", { class: "more small" }, `${shown.length} pictures`));
        element.append(button);
      }
      const question = make("p", { class: "question", id: `question-${place}`, dir: "auto" }, row[QUESTION]);
      element.append(make("div", {}, question, answers(row), meta(row)));
      return element;
    }

    // Blocks of cards: drawn near the window, else empty and as high as they were
    const columns = () => getComputedStyle(blocks.find((one) => one.drawn)?.element ?? feed).gridTemplateColumns.split(" ").length;
    function draw(one) {
      if (one.drawn) return;
      const cards = [];
      for (let place = one.from; place < one.to; place += 1) cards.push(card(place));
      one.element.replaceChildren(...cards);
      one.element.style.height = "";
      one.drawn = true;
    }
    function empty(one) {
      // The first block stays: the way from the filters by Tab leads there
      if (!one.drawn || one === blocks[0] || one.element.contains(document.activeElement)) return;
      one.element.style.height = `${one.element.offsetHeight}px`;
      one.element.replaceChildren();
      one.drawn = false;
    }
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const one = blocks[Number(entry.target.dataset.block)];
        if (!one || one.element !== entry.target) continue; // of an earlier filter
        one.near = entry.isIntersecting;
        if (one.near) draw(one);
        else empty(one);
      }
      if (!feed.querySelector('[tabindex="0"]')) feed.querySelector(".card")?.setAttribute("tabindex", "0");
    }, { rootMargin: `${AHEAD}px 0px` });
    function measure() {
      const first = blocks.find((one) => one.drawn && one.to - one.from === Math.min(A_BLOCK, matching.length));
      if (!first) return;
      const beside = columns(), lines = (one) => Math.ceil((one.to - one.from) / beside);
      const height = first.element.offsetHeight / lines(first);
      for (const one of blocks) if (!one.drawn) one.element.style.height = `${lines(one) * height}px`;
    }
    function layOut() {
      watch.disconnect();
      blocks = [];
      for (let from = 0; from < matching.length; from += A_BLOCK) {
        const element = make("div", { class: "block", "data-block": blocks.length });
        blocks.push({ element, from, to: Math.min(from + A_BLOCK, matching.length), drawn: false, near: false });
      }
      feed.replaceChildren(...blocks.map((one) => one.element));
      if (blocks.length) draw(blocks[0]);
      measure();
      for (const one of blocks) watch.observe(one.element);
    }

    // Filters: in the address, so that a view can be linked to: #filter=wrong-right&category=open&search=blue
    const words_ = { change: "filter", task: "task", category: "category", other: "against", search: "search" };
    const named = { task: data.tasks, category: data.categories, other: data.names };
    function read() {
      const wanted = new URLSearchParams(location.hash.slice(1));
      for (const key in words_) {
        const value = wanted.get(words_[key]);
        const place = value !== null && key in named ? named[key].indexOf(value) : -1;
        if (key in named) state[key] = place < 0 || (key === "other" && !place) ? start[key] : String(place);
        else state[key] = value ?? start[key];
      }
      search.value = state.search;
      show();
    }
    function change(key, value) {
      state[key] = value;
      const wanted = new URLSearchParams();
      for (const name in words_) {
        if (state[name] !== start[name]) wanted.set(words_[name], name in named ? named[name][Number(state[name])] : state[name]);
      }
      history.replaceState(null, "", `#${wanted}`);
      show();
    }
    function show() {
      matching = data.rows.filter((row) => fits(row));
      current = -1;
      for (const field of fields) {
        const key = field.dataset.filter;
        if (field.tagName === "SELECT") { field.value = state[key]; continue; }
        field.setAttribute("aria-pressed", String(state[key] === field.dataset.value));
      }
      for (const key of ["change", "task", "category"]) {
        const buttons = fields.filter((field) => field.dataset.filter === key && field.tagName !== "SELECT");
        if (!buttons.length) continue;
        const counts = {}; // with the other filters as they are
        for (const row of data.rows) {
          if (!fits(row, key)) continue;
          const value = key === "change" ? kind(row) : row[key === "task" ? TASK : CATEGORY];
          counts[value] = (counts[value] ?? 0) + 1;
          counts.all = (counts.all ?? 0) + 1;
        }
        for (const button of buttons) {
          button.querySelector(".count").textContent = (counts[button.dataset.value || "all"] ?? 0).toLocaleString("en");
        }
      }
      const [some, all] = [matching.length, data.rows.length].map((count) => count.toLocaleString("en"));
      section.querySelector(".shown").textContent = `${some} of ${all} shown`;
      section.querySelector(".nothing").hidden = matching.length > 0;
      layOut();
    }

    // Keyboard: one card is in the tab order; the others are a step away
    const cardAt = (place) => feed.querySelector(`[data-place="${place}"]`);
    function select(place) {
      const before = current;
      current = Math.min(Math.max(place, 0), matching.length - 1);
      const one = blocks[Math.floor(current / A_BLOCK)];
      draw(one);
      for (const old of feed.querySelectorAll('[tabindex="0"]')) old.setAttribute("tabindex", "-1");
      const element = cardAt(current);
      element.setAttribute("tabindex", "0");
      element.focus({ preventScroll: true });
      element.scrollIntoView({ block: "nearest", behavior: "instant" }); // the next key may come before a slide has ended
      const left = blocks[Math.floor(before / A_BLOCK)];
      if (left && left !== one && !left.near) empty(left);
    }
    function nearest() { // the card that a key starts from: the current one where it can be seen, else the first in sight
      const seen = (element) => { const box = element?.getBoundingClientRect(); return box && box.bottom > 0 && box.top < innerHeight; };
      if (current >= 0 && seen(cardAt(current))) return current;
      const first = [...feed.querySelectorAll(".card")].find((one) => seen(one) && one.getBoundingClientRect().top >= 0);
      return first ? Number(first.dataset.place) - 1 : -1;
    }
    function open(place) {
      select(place);
      const row = matching[current];
      const question = make("p", { class: "question", dir: "auto" }, row[QUESTION]);
      dialog.querySelector(".content").replaceChildren(...images(row), question, answers(row), meta(row));
      dialog.querySelector(".place").textContent = `${(current + 1).toLocaleString("en")} of ${matching.length.toLocaleString("en")}`;
      opened = current;
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
    }
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !matching.length && event.key !== "/") return;
      const typing = event.target.matches?.("input, select, textarea");
      if (typing) {
        if (event.key !== "Escape" || event.target !== search || search.value) return;
        event.preventDefault();
        if (matching.length) select(Math.max(current, 0));
        return;
      }
      const inside = dialog.open || event.target.closest?.(".card");
      const lines = dialog.open ? 1 : columns();
      const steps = { j: 1, k: -1, ...(inside && { ArrowRight: 1, ArrowLeft: -1, ArrowDown: lines, ArrowUp: -lines }) };
      if (dialog.open && event.key.startsWith("Arrow") && "UpDown".includes(event.key.slice(5))) return; // it scrolls
      if (event.key === "/" && !dialog.open) search.focus();
      else if (event.key in steps) {
        const next = (event.key === "j" || event.key === "k" ? (dialog.open ? current : nearest()) : current) + steps[event.key];
        if (dialog.open) { if (next >= 0 && next < matching.length) open(next); }
        else if (next < matching.length || event.key === "j") select(next);
      }
      else if (event.key === "Home" && inside) dialog.open ? open(0) : select(0);
      else if (event.key === "End" && inside) dialog.open ? open(matching.length - 1) : select(matching.length - 1);
      else if (event.key === "Enter" && event.target.matches?.(".card")) open(Number(event.target.dataset.place));
      else return;
      event.preventDefault();
    });
    feed.addEventListener("click", (event) => {
      const from = event.target.closest(".card");
      if (from && event.target.closest(".picture")) open(Number(from.dataset.place));
    });
    feed.addEventListener("focusin", (event) => {
      const place = Number(event.target.closest(".card")?.dataset.place ?? -1);
      if (place >= 0 && place !== current) current = place;
    });
    dialog.addEventListener("click", (event) => {
      const step = Number(event.target.dataset.step ?? 0);
      if (step && current + step >= 0 && current + step < matching.length) open(current + step);
      else if (event.target === dialog || event.target.closest(".close")) dialog.close();
    });
    dialog.addEventListener("close", () => select(opened)); // the browser goes back to the card that was enlarged first

    for (const field of fields) {
      const key = field.dataset.filter;
      if (field.tagName === "SELECT") field.addEventListener("change", () => change(key, field.value));
      else field.addEventListener("click", () => change(key, field.dataset.value));
    }
    let wait = 0;
    search.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => change("search", search.value.trim()), 60); });
    section.querySelector("[data-reset]").addEventListener("click", () => {
      history.replaceState(null, "", "#");
      read();
      search.focus();
    });
    addEventListener("hashchange", read);
    addEventListener("resize", measure);
    read();
  }
  if (data) gallery();
}
