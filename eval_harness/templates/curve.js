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
