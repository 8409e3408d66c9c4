"use strict";
{
  // The table sorts by its headers, and the cines of this page follow.
  const body = document.querySelector("#cines tbody");
  const headers = [...document.querySelectorAll("#cines thead th")];
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell.dataset.value ?? cell.textContent;
    return value === "" || Number.isNaN(Number(value)) ? value : Number(value);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

  function sort(column, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((a, b) => sign * compare(key(a, column), key(b, column)));
    body.append(...rows);
    const sheets = rows.map((row) => document.getElementById(`s-${row.dataset.cine}`));
    document.getElementById("sheets").append(...sheets.filter(Boolean));
    headers.forEach((header, i) =>
      i === column ? header.setAttribute("aria-sort", direction) : header.removeAttribute("aria-sort"),
    );
  }

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const now = header.getAttribute("aria-sort");
      const first = header.classList.contains("r") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      sort(column, now === first ? other : first);
    });
  });

  // A film is one picture: a window of it is shown at a time.
  for (const player of document.querySelectorAll(".player")) {
    const timeline = player.closest("article").querySelector(".timeline");
    const picture = player.querySelector(".picture");
    const button = player.querySelector("button");
    const slider = player.querySelector("input");
    const { columns, frames, milliseconds } = player.dataset;
    const numbers = frames.split(" ");
    const [, , width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
    let playing = 0;

    function show(at) {
      slider.value = at;
      slider.setAttribute("aria-valuetext", `frame ${numbers[at]}`);
      const corner = [(at % columns) * width, Math.floor(at / columns) * height];
      picture.setAttribute("viewBox", [...corner, width, height].join(" "));
      player.querySelector("output").textContent = numbers[at];
      timeline.style.setProperty("--at", (at + 0.5) / numbers.length);
    }

    function play(on) {
      clearInterval(playing);
      playing = on
        ? setInterval(() => show((Number(slider.value) + 1) % numbers.length), milliseconds)
        : 0;
      button.textContent = on ? "❚❚" : "▶";
      button.setAttribute("aria-pressed", String(on));
    }

    const toggle = () => play(!playing);
    button.addEventListener("click", toggle);
    picture.addEventListener("click", toggle);
    slider.addEventListener("input", () => {
      play(false);
      show(Number(slider.value));
    });
    timeline.addEventListener("click", (event) => {
      const row = event.target.closest(".strip, .lane");
      if (!row) return;
      const box = row.getBoundingClientRect();
      play(false);
      const share = (event.clientX - box.left) / box.width;
      show(Math.max(0, Math.min(numbers.length - 1, Math.floor(share * numbers.length))));
    });
    player.querySelector(".controls").hidden = false;
  }
}
