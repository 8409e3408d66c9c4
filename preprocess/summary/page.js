"use strict";
{
  const form = document.getElementById("filters");
  const sheets = [...document.querySelectorAll("article")];

  function fits({ view, worst, found, proposed, words }, wanted) {
    const findings = found.split(" ").filter(Boolean);
    return (
      (!wanted.view || view === wanted.view) &&
      (!wanted.worst || worst === wanted.worst) &&
      (!wanted.found || (wanted.found === "any" ? findings.length > 0 : findings.includes(wanted.found))) &&
      (!wanted.proposed || proposed === "yes") &&
      words.toLowerCase().includes(wanted.words.trim().toLowerCase())
    );
  }

  function apply() {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const sheet of sheets) {
      sheet.hidden = !fits(sheet.dataset, wanted);
      shown += !sheet.hidden;
    }
    form.querySelector("output").textContent = `${shown} of ${sheets.length} shown`;
    document.getElementById("nothing").hidden = shown > 0 || sheets.length === 0;
  }

  // A link to a sequence that is filtered away shows it.
  function reveal() {
    const sheet = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (sheet?.hidden) {
      form.reset();
      sheet.scrollIntoView();
    }
  }

  form.addEventListener("input", apply);
  // The event comes before the fields are empty.
  form.addEventListener("reset", () => queueMicrotask(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", reveal);
  form.hidden = false;
  apply();
}
