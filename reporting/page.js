"use strict";
/* Reads out what is pointed at; the page is complete without it. */
for (const chart of document.querySelectorAll("figure.account")) {
  const path = JSON.parse(chart.dataset.path);
  const name = (day) => String(day).replace(/(....)(..)(..)/, "$1-$2-$3");
  const times = path.map(([day]) => Date.parse(name(day)));
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
      readout.textContent = `${name(day)}: equity ${dollars.format(equity)}, drawdown ${(-fall * 100).toFixed(1)} %`;
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
    if (day) readout.textContent = day.title;
  };
  calendar.addEventListener("pointerover", show);
  calendar.addEventListener("focusin", show);
  calendar.addEventListener("click", show);
}
/* Filters and an order for the trades: made here, because without scripts they would do nothing. */
for (const list of [...document.querySelectorAll(".trade-list")].slice(0, 1)) {
  const cards = [...document.querySelectorAll(".trade-list > *")];
  const keys = ["strategy", "exit", "month", "result", "opened", "profit", "held"];
  for (const card of cards) card.dataset.marks.split("|").forEach((mark, at) => { card.dataset[keys[at]] = mark; });
  const bar = document.createElement("form");
  bar.className = "filters";
  bar.setAttribute("aria-label", "Filter and order trades");
  const told = document.createElement("output");
  const select = (words, options) => {
    const label = document.createElement("label");
    const box = document.createElement("select");
    for (const [value, text] of options) box.add(new Option(text, value));
    label.append(words, " ", box);
    bar.append(label);
    box.addEventListener("change", apply);
    return box;
  };
  const filters = [["strategy", "Strategy"], ["exit", "Exit"], ["month", "Month"], ["result", "Result"]].map(([key, words]) => {
    const values = [...new Set(cards.map((card) => card.dataset[key]))].sort();
    return [key, select(words, [["", "all"], ...values.map((value) => [value, value])])];
  });
  const orders = {
    latest: (a, b) => b.dataset.opened.localeCompare(a.dataset.opened),
    earliest: (a, b) => a.dataset.opened.localeCompare(b.dataset.opened),
    best: (a, b) => b.dataset.profit - a.dataset.profit,
    worst: (a, b) => a.dataset.profit - b.dataset.profit,
    longest: (a, b) => b.dataset.held - a.dataset.held,
  };
  const order = select("Order", [["latest", "latest first"], ["earliest", "earliest first"], ["best", "best first"],
    ["worst", "worst first"], ["longest", "longest held first"]]);
  function apply() {
    const shown = cards.filter((card) => filters.every(([key, box]) => !box.value || card.dataset[key] === box.value));
    cards.forEach((card) => { card.hidden = !shown.includes(card); });
    const homes = new Map([...cards].map((card) => [card, card.parentElement]));
    [...cards].sort(orders[order.value]).forEach((card) => homes.get(card).append(card));
    const profit = shown.reduce((sum, card) => sum + Number(card.dataset.profit), 0);
    told.textContent = `${shown.length} of ${cards.length} trades, profit ${profit.toLocaleString("en-US",
      { style: "currency", currency: "USD", maximumFractionDigits: 0 })}`;
  }
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.append(told);
  list.closest("section").querySelector("h2").after(bar);
  apply();
}
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.id.match(/^(trade|open)-/)) return;
  target.hidden = false;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", openTarget);
openTarget();
