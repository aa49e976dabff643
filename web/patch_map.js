"use strict";
// A picture under a grid of patches, of which one is pointed at: by pointer, or by arrow keys, Home and End.

// What a script element with data holds.
function readData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// The bytes of a base64 text.
function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; ++i) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A labelled list to choose from: [[value, text], ...].
function chooser(label, choices, change) {
  const select = element("select", {}, choices.map(([value, text]) => element("option", { value, textContent: text })));
  select.addEventListener("change", change);
  return { select, label: element("label", {}, [label + " ", select]) };
}

// Calls `begin` once, when the section comes near the window.
function whenSeen(section, begin) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    begin();
  }, { rootMargin: "400px" });
  observer.observe(section);
}

class PatchMap {
  // point(patch) is called when another patch is pointed at, choose(patch) at a click or Enter.
  constructor(stage, grid, label, { point = () => {}, choose = () => {} } = {}) {
    this.grid = grid;
    this.point = point;
    this.choose = choose;
    this.patch = 0;
    this.picture = element("img", { alt: "" });
    this.canvas = element("canvas", { width: 640, height: Math.round(640 * grid.rows / grid.columns) });
    this.canvas.setAttribute("aria-hidden", "true");
    this.box = element("div", { className: "map", tabIndex: 0 }, [this.picture, this.canvas]);
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-roledescription", "patches of an image");
    this.box.setAttribute("aria-label", label);
    stage.append(this.box);
    stage.hidden = false;
    this.box.addEventListener("pointermove", (event) => this.moveTo(this.at(event)));
    this.box.addEventListener("click", (event) => {
      this.moveTo(this.at(event));
      this.choose(this.patch);
    });
    this.box.addEventListener("keydown", (event) => this.press(event));
  }

  show(image) {
    this.picture.src = image.src;
    this.picture.alt = image.alt;
  }

  // The patch below the pointer.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (from, length, count) => Math.min(count - 1, Math.max(0, Math.floor(from / length * count)));
    const row = place(event.clientY - box.top, box.height, this.grid.rows);
    return row * this.grid.columns + place(event.clientX - box.left, box.width, this.grid.columns);
  }

  moveTo(patch) {
    if (patch === this.patch) return;
    this.patch = patch;
    this.point(patch);
  }

  press(event) {
    const { rows, columns } = this.grid;
    const row = Math.floor(this.patch / columns), column = this.patch % columns;
    const steps = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column], Home: [row, 0], End: [row, columns - 1],
    };
    if (event.key === "Enter" || event.key === " ") this.choose(this.patch);
    else if (!(event.key in steps)) return;
    else {
      const [r, c] = steps[event.key];
      this.moveTo(Math.min(rows - 1, Math.max(0, r)) * columns + Math.min(columns - 1, Math.max(0, c)));
    }
    event.preventDefault();
  }

  // fill(patch) gives a colour for each patch, or null; the one pointed at is outlined, and one that was chosen in blue.
  draw(fill, chosen = -1) {
    const context = this.canvas.getContext("2d"), { rows, columns } = this.grid;
    const width = this.canvas.width / columns, height = this.canvas.height / rows;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (let patch = 0; patch < rows * columns; ++patch) {
      const colour = fill(patch);
      if (colour === null) continue;
      context.fillStyle = colour;
      context.fillRect(patch % columns * width, Math.floor(patch / columns) * height, width + 0.5, height + 0.5);
    }
    for (const [patch, colour, line] of [[chosen, "#fff", 8], [chosen, "#0060c0", 5], [this.patch, "#000", 6],
                                         [this.patch, "#fff", 3]]) {
      if (patch < 0) continue;
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(patch % columns * width, Math.floor(patch / columns) * height, width, height);
    }
  }

  // "row 3, column 5", from 1.
  placeOf(patch) {
    return `row ${Math.floor(patch / this.grid.columns) + 1}, column ${patch % this.grid.columns + 1}`;
  }
}
