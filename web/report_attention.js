"use strict";
// Attention: image, layer, head, and the token that looks, CLS or a patch. Weights are bytes [layer, head, query, key],
// of 255 parts of the row's largest, which is a float of its own.
class Attention {
  constructor(section) {
    this.section = section;
    this.said = section.querySelector(".said");
    this.pictures = [...section.querySelectorAll(".gallery img")];
    this.data = readData(section.dataset.source);
    this.tokens = this.data.rows * this.data.columns + 1;
    this.decoded = new Map();
    this.query = 0;  // token: 0 is CLS
    const redraw = () => this.draw();
    const numbered = (count, text) => Array.from({ length: count }, (_, i) => [i, text(i)]);
    this.image = chooser("Image", this.pictures.map((picture, i) => [i, picture.alt]), redraw);
    this.layer = chooser("Layer", this.data.layers.map((layer, i) => [i, layer]), redraw);
    this.layer.select.value = this.data.layers.length - 1;
    this.head = chooser("Head", [[-1, "mean"], ...numbered(this.data.heads, (i) => i + 1)], redraw);
    this.cls = element("button", { type: "button", textContent: "What CLS looks at" });
    this.cls.addEventListener("click", () => this.ask(0));
    const controls = section.querySelector(".controls");
    controls.append(this.image.label, this.layer.label, this.head.label, this.cls);
    controls.hidden = false;
    this.map = new PatchMap(section.querySelector(".stage"), this.data, "Choose the patch that looks",
                            { point: redraw, choose: (patch) => this.ask(patch + 1) });
    section.querySelector(".gallery").hidden = true;
    this.draw();
  }

  ask(token) {
    this.query = token;
    this.draw();
  }

  // Of an image; decoded when it is first shown.
  weightsOf(image) {
    if (!this.decoded.has(image)) {
      const { weights, largest } = this.data.images[image];
      this.decoded.set(image, { bytes: bytesOf(weights), largest: new Float32Array(bytesOf(largest).buffer) });
    }
    return this.decoded.get(image);
  }

  // A number for each token that is looked at; they sum to about 1.
  row(image, layer, head) {
    const { bytes, largest } = this.weightsOf(image);
    const place = (layer * this.data.heads + head) * this.tokens + this.query;
    return Float32Array.from(bytes.subarray(place * this.tokens, (place + 1) * this.tokens),
                             (byte) => byte / 255 * largest[place]);
  }

  draw() {
    const image = Number(this.image.select.value), layer = Number(this.layer.select.value);
    const head = Number(this.head.select.value);
    const heads = head < 0 ? Array.from({ length: this.data.heads }, (_, i) => i) : [head];
    const row = new Float32Array(this.tokens);
    for (const one of heads) this.row(image, layer, one).forEach((weight, i) => { row[i] += weight / heads.length; });
    const patches = row.subarray(1), most = Math.max(...patches, 1e-9);
    this.map.show(this.pictures[image]);
    this.map.draw((patch) => `rgb(255 120 0 / ${(0.85 * Math.sqrt(patches[patch] / most)).toFixed(3)})`,
                  this.query - 1);
    const who = this.query === 0 ? "CLS" : `the patch in ${this.map.placeOf(this.query - 1)}`;
    const percent = (weight) => `${(100 * weight).toFixed(1)}%`;
    const strongest = patches.indexOf(most);
    this.said.textContent = `${who} looks at ${this.map.placeOf(Math.max(0, strongest))} most (${percent(most)}), ` +
        `at CLS with ${percent(row[0])}; at ${this.map.placeOf(this.map.patch)}, pointed at, with ` +
        `${percent(patches[this.map.patch])}.`;
  }
}

for (const section of document.querySelectorAll("section.attention")) whenSeen(section, () => new Attention(section));
