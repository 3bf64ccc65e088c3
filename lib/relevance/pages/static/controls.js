// Switches the frames of each control on the page; a control that is live already is left alone.
(() => {
  "use strict";
  for (const control of document.querySelectorAll("figure.rr-turning:not([data-live])")) {
    const held = control.querySelector('script[type="application/json"]');
    if (!held) continue;
    const { frames, order, inks, inked, alts, readings, said } = JSON.parse(held.textContent);
    const picture = control.querySelector("img");
    const ink = control.querySelector(".rr-ink");
    const form = control.querySelector("form");
    if (!form) continue; // nothing to choose
    const told = control.querySelector(".rr-chosen");
    const reading = control.querySelector(".rr-reading");
    const names = [...new Set([...form.querySelectorAll("input")].map((input) => input.name))];

    const show = () => {
      let place = 0;
      for (const name of names) {
        const inputs = [...form.querySelectorAll("input")].filter((input) => input.name === name);
        const slider = inputs[0].type === "range";
        const count = slider ? Number(inputs[0].max) + 1 : inputs.length;
        const chosen = Number(slider ? inputs[0].value : (inputs.find((input) => input.checked) ?? inputs[0]).value);
        if (slider) {
          const value = JSON.parse(inputs[0].dataset.values)[chosen];
          inputs[0].setAttribute("aria-valuetext", value);
          inputs[0].nextElementSibling.textContent = value;
        }
        place = place * count + chosen;
      }
      if (picture.getAttribute("src") !== frames[order[place]]) picture.setAttribute("src", frames[order[place]]);
      ink.style.maskImage = `url(${inks[inked[place]]})`;
      picture.alt = alts[place];
      told.textContent = `Shown: ${said[place]}.`;
      if (reading.textContent !== (readings[place] ?? "")) reading.textContent = readings[place] ?? "";
    };

    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    control.dataset.live = "";
    show();
  }
})();
