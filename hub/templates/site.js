// Search on the index page, and the copy buttons. Without scripts the pages lose only these.
"use strict";
const search = document.getElementById("search");
if (search) {
  const models = [...document.querySelectorAll(".model")];
  const hits = document.getElementById("hits");
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const model of models) {
      model.hidden = !words.every((word) => model.dataset.text.includes(word));
      shown += !model.hidden;
    }
    hits.textContent = words.length ? `${shown} of ${models.length}` : "";
  };
  search.addEventListener("input", update);
  update();
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      // Pages opened as files may not reach the clipboard: select the line, so that one key copies it.
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
