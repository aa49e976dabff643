"use strict";
// Codes: the strips with maps of where a code stands, a search over both, and the table of all codes by pages.
class Atlas {
  static rowsShown = 100;

  constructor(section) {
    this.data = readData(section.dataset.source);
    this.said = section.querySelector(".said");
    this.strips = [...section.querySelectorAll(".strips figure")];
    this.uses = section.querySelector(".uses");
    this.total = this.data.uses.reduce((sum, uses) => sum + uses, 0);
    this.page = 0;
    this.search = element("input", { type: "search", inputMode: "numeric", placeholder: "17" });
    this.search.addEventListener("input", () => this.filter());
    const controls = section.querySelector(".controls");
    controls.append(element("label", {}, ["Find a code ", this.search]));
    controls.hidden = false;
    for (const figure of this.strips) this.drawPlaces(figure);
    this.makeTable();
  }

  // Where in the image the code stands, beside its patches.
  drawPlaces(figure) {
    const { rows, columns, where } = this.data, counts = where[figure.dataset.code];
    const canvas = element("canvas", { className: "places", width: columns, height: rows });
    canvas.setAttribute("role", "img");
    const most = Math.max(...counts, 1), strongest = counts.indexOf(Math.max(...counts));
    canvas.setAttribute("aria-label", `most often in row ${Math.floor(strongest / columns) + 1}, ` +
                                      `column ${strongest % columns + 1} of ${rows} by ${columns} patches`);
    const context = canvas.getContext("2d");
    counts.forEach((count, patch) => {
      context.fillStyle = `rgb(0 114 178 / ${Math.sqrt(count / most).toFixed(3)})`;
      context.fillRect(patch % columns, Math.floor(patch / columns), 1, 1);
    });
    figure.prepend(canvas);
  }

  makeTable() {
    const draw = () => this.draw();
    this.sort = chooser("Sort by", [["uses", "use"], ["code", "number"], ["similarity", "cosine"]], () => {
      this.page = 0;
      this.order();
      draw();
    });
    if (!this.data.similarity) this.sort.select.querySelector("[value=similarity]").remove();
    this.before = element("button", { type: "button", textContent: "Before" });
    this.after = element("button", { type: "button", textContent: "After" });
    this.before.addEventListener("click", () => { --this.page; draw(); });
    this.after.addEventListener("click", () => { ++this.page; draw(); });
    this.shown = element("span");
    this.shown.setAttribute("aria-live", "polite");
    this.rows = element("tbody");
    const heads = ["Code", "Patches", "Share", "Images", ...(this.data.similarity ? ["Cosine"] : [])];
    const cells = heads.map((textContent) => element("th", { scope: "col", textContent }));
    const table = element("table", {}, [element("thead", {}, [element("tr", {}, cells)]), this.rows]);
    const region = element("div", { className: "table", tabIndex: 0 }, [table]);
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", "All codes by use");
    this.uses.append(element("div", { className: "controls" }, [this.sort.label, this.before, this.after, this.shown]),
                     region);
    this.uses.hidden = false;
    this.order();
    this.uses.addEventListener("toggle", draw, { once: true });
  }

  // Codes in the table's order, as far as the search lets them.
  order() {
    const by = this.sort.select.value, values = by === "code" ? null : this.data[by];
    const wanted = this.search.value.trim();
    this.codes = this.data.uses.map((_, code) => code).filter((code) => String(code).startsWith(wanted));
    if (values) this.codes.sort((one, other) => values[other] - values[one] || one - other);
  }

  draw() {
    const count = this.codes.length, pages = Math.max(1, Math.ceil(count / Atlas.rowsShown));
    this.page = Math.min(pages - 1, Math.max(0, this.page));
    const first = this.page * Atlas.rowsShown, shown = this.codes.slice(first, first + Atlas.rowsShown);
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page === pages - 1;
    this.shown.textContent = count === 0 ? "no such code" : `${first + 1} to ${first + shown.length} of ${count}`;
    const share = (uses) => this.total > 0 ? `${(100 * uses / this.total).toFixed(3)}%` : "";
    this.rows.replaceChildren(...shown.map((code) => {
      const { uses, held, similarity } = this.data;
      const texts = [uses[code], share(uses[code]), held[code]];
      if (similarity) texts.push(uses[code] > 0 ? similarity[code].toFixed(3) : "");
      return element("tr", {}, [element("th", { scope: "row", textContent: code }),
                                ...texts.map((textContent) => element("td", { textContent }))]);
    }));
  }

  filter() {
    const wanted = this.search.value.trim();
    let found = 0;
    for (const figure of this.strips) {
      figure.hidden = !figure.dataset.code.startsWith(wanted);
      if (!figure.hidden) ++found;
    }
    this.page = 0;
    this.order();
    this.draw();
    const exact = /^\d+$/.test(wanted) && Number(wanted) < this.data.uses.length ? Number(wanted) : null;
    const known = exact === null ? "" : `; code ${exact} is used ${this.data.uses[exact]} times`;
    const words = `${found} codes by patches, ${this.codes.length} in the table${known}.`;
    this.said.textContent = wanted === "" ? "" : words;
  }
}

for (const section of document.querySelectorAll("section.atlas")) whenSeen(section, () => new Atlas(section));
