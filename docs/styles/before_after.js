// Put the two pictures of each .before-after over one another, with a slider between them. Without this script (on
// GitHub, in print) they stay side by side.
document$.subscribe(() => {
  for (const pair of document.querySelectorAll(".before-after:not(.is-slider)")) {
    const [before, after] = pair.querySelectorAll("img");
    if (!before || !after) continue;
    const slider = document.createElement("input");
    slider.type = "range";
    slider.value = 50;
    slider.setAttribute("aria-label", "Left: before. Right: after.");
    slider.addEventListener("input", () => pair.style.setProperty("--seam", `${slider.value}%`));
    pair.replaceChildren(after, before, slider);
    pair.classList.add("is-slider");
  }
});
