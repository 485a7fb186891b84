"use strict";
(() => {
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  open();
  // What is closed has no content on paper.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    opened = [];
  });
  const filter = document.getElementById("filter");
  if (!filter) return;
  const findings = [...document.querySelectorAll(".finding")];
  const texts = findings.map((finding) => finding.textContent.toLowerCase());
  const shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    let count = 0;
    findings.forEach((finding, at) => {
      finding.hidden = !texts[at].includes(wanted);
      count += finding.hidden ? 0 : 1;
    });
    shown.textContent = `${count} of ${findings.length} shown`;
  });
})();
