"use strict";
/* Reads out what is pointed at; the page is complete without it. */
for (const chart of document.querySelectorAll("figure.account")) {
  const path = JSON.parse(chart.dataset.path);
  const times = path.map(([day]) => Date.parse(day));
  const readout = chart.querySelector(".readout");
  const guides = chart.querySelectorAll(".guide");
  const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 });
  const rest = () => {
    readout.textContent = readout.dataset.rest;
    guides.forEach((guide) => { guide.style.display = "none"; });
  };
  chart.querySelectorAll(".plot").forEach((plot) => {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      const wanted = times[0] + share * (times[times.length - 1] - times[0]);
      const after = times.findIndex((time) => time >= wanted);
      const at = after < 0 ? times.length - 1 : after;
      const [day, equity, fall] = path[at];
      readout.textContent = `${day}: equity ${dollars.format(equity)}, drawdown ${(-fall * 100).toFixed(1)} %`;
      const place = (times[at] - times[0]) / (times[times.length - 1] - times[0]) * 100;
      guides.forEach((guide) => { guide.style.display = "block"; guide.style.left = `${place}%`; });
    });
    plot.addEventListener("pointerleave", rest);
  });
}
for (const calendar of document.querySelectorAll(".calendar")) {
  const readout = calendar.querySelector(".readout");
  const show = (event) => {
    const day = event.target.closest(".year .day");
    if (day) readout.textContent = day.querySelector(".unseen").textContent;
  };
  calendar.addEventListener("pointerover", show);
  calendar.addEventListener("focusin", show);
  calendar.addEventListener("click", show);
}
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", openTarget);
openTarget();
