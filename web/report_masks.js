"use strict";
// Masked patches: the tokenizer's codes, those foretold, and how sure the model is.
class Masks {
  constructor(section) {
    this.said = section.querySelector(".said");
    this.pictures = [...section.querySelectorAll(".gallery img")];
    this.data = readData(section.dataset.source);
    const redraw = () => this.draw();
    this.image = chooser("Image", this.pictures.map((picture, i) => [i, picture.alt]), redraw);
    this.view = chooser("Show", [["right", "which are foretold"], ["confidence", "how sure"], ["mask", "what is seen"]],
                        redraw);
    const controls = section.querySelector(".controls");
    controls.append(this.image.label, this.view.label);
    controls.hidden = false;
    this.map = new PatchMap(section.querySelector(".stage"), this.data, "Read the codes of a patch",
                            { point: redraw, choose: redraw });
    section.querySelector(".gallery").hidden = true;
    this.draw();
  }

  colour(image, patch) {
    if (!image.mask[patch]) return null;
    const right = image.codes[patch] === image.foretold[patch];
    switch (this.view.select.value) {
      case "mask": return "rgb(128 128 128)";
      case "confidence": return `rgb(0 90 180 / ${(0.1 + 0.8 * image.confidence[patch]).toFixed(3)})`;
      default: return right ? "rgb(0 158 115 / 0.65)" : "rgb(213 94 0 / 0.65)";
    }
  }

  draw() {
    const number = Number(this.image.select.value), image = this.data.images[number], patch = this.map.patch;
    this.map.show(this.pictures[number]);
    this.map.draw((one) => this.colour(image, one));
    const place = `${this.map.placeOf(patch)}: code ${image.codes[patch]}`;
    this.said.textContent = !image.mask[patch] ? `${place}, not masked.` :
        `${place}, foretold ${image.foretold[patch]} with ${(100 * image.confidence[patch]).toFixed(1)}%: ` +
        (image.codes[patch] === image.foretold[patch] ? "right." : "wrong.");
  }
}

for (const section of document.querySelectorAll("section.masks")) whenSeen(section, () => new Masks(section));
