// The page at /: an image goes to the server, its codes are laid over it.
"use strict";

const element = (id) => document.getElementById(id);
const state = { model: null, codes: [], cells: [], shown: null, image: 0, code: 0 };

function say(text, failed = false) {
  element("status").textContent = text;
  element("status").classList.toggle("failed", failed);
}

// fetch() with the token, where there is one; what the server refuses is an Error with its message.
async function ask(path, options = {}) {
  const token = element("token").value;
  const headers = { ...options.headers, ...(token ? { Authorization: "Bearer " + token } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) element("token-row").hidden = false;
  let message = "the server answered " + answer.status;
  try {
    message = (await answer.json()).error.message;
  } catch { /* no JSON: the status says it */ }
  throw new Error(message);
}

function endpoint() {
  const has = state.model ? state.model.endpoints : [];
  return ["/v1/tokens", "/v1/classify", "/v1/segment", "/v1/features"].find((path) => has.includes(path));
}

async function askModel() {
  try {
    state.model = await (await ask("/v1/model")).json();
    const { network, width, depth, image_size: size, codes } = state.model;
    element("model").textContent =
      `A ${network} of ${depth} blocks of width ${width}, images of ${size} pixels` +
      (codes ? `, ${codes} codes.` : ".");
    say("");
  } catch (error) {
    element("model").textContent = "";
    say(error.message, true);
  }
}

// A JPEG file whose Exif nobody reads, so that it is drawn as it is stored: what imageOrientation "none" does differs from
// browser to browser.
async function withoutExif(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return file;
  const [exif, other, scan] = [0xe1, 0xef, 0xda];
  let at = 2;
  while (at + 3 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== scan) {
    if (bytes[at + 1] === exif) bytes[at + 1] = other;
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return new Blob([bytes], { type: file.type });
}

// The part of the image that the network saw, as the server says it.
async function draw(file, seen) {
  const bitmap = await createImageBitmap(state.model.apply_orientation ? file : await withoutExif(file));
  const canvas = element("picture");
  canvas.width = canvas.height = 1024;
  const part = seen || { left: 0, top: 0, width: bitmap.width, height: bitmap.height };
  canvas.getContext("2d").drawImage(
    bitmap, part.left, part.top, part.width, part.height, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}

function makeGrid(rows) {
  const grid = element("grid");
  const columns = rows[0].length;
  grid.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  grid.style.gridTemplateRows = `repeat(${rows.length}, 1fr)`;
  grid.setAttribute("aria-rowcount", rows.length);
  grid.setAttribute("aria-colcount", columns);
  state.codes = rows.flat();
  state.cells = [];
  grid.replaceChildren(...rows.map((codes, row) => {
    const line = document.createElement("div");
    line.setAttribute("role", "row");
    line.append(...codes.map((code, column) => {
      const cell = document.createElement("div");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-label", `row ${row + 1}, column ${column + 1}: code ${code}`);
      cell.tabIndex = state.cells.length === 0 ? 0 : -1;
      cell.textContent = code;
      cell.dataset.index = state.cells.length;
      state.cells.push(cell);
      return cell;
    }));
    return line;
  }));
}

// Lights up the patches of a patch's code, and says what else is known of that.
function choose(index) {
  const code = state.codes[index];
  if (code === undefined || state.shown === code) return;
  state.shown = code;
  let same = 0;
  state.cells.forEach((cell, i) => {
    const is = state.codes[i] === code;
    cell.classList.toggle("same", is);
    same += is ? 1 : 0;
  });
  element("code").hidden = false;
  element("code-heading").textContent = `Code ${code}`;
  element("code-facts").textContent = same === 1 ? "One patch of this image." : `${same} patches of this image.`;
  element("examples").replaceChildren();
  if (state.model.gallery) showExamples(code, ++state.code);
}

async function showExamples(code, turn) {
  try {
    const found = await (await ask(`/v1/codes/${code}`)).json();
    if (turn !== state.code) return;
    const share = (100 * found.share).toFixed(2);
    element("code-facts").textContent += ` ${found.uses} patches of ${found.images} other images, ${share} %.`;
    for (const example of found.examples) {
      const picture = await (await ask(example.picture)).blob();
      if (turn !== state.code) return;
      const item = document.createElement("li");
      const image = document.createElement("img");
      image.alt = `Patch ${example.patch} of ${example.image}, amid its surroundings`;
      image.src = URL.createObjectURL(picture);
      image.onload = () => URL.revokeObjectURL(image.src);
      item.append(image, `similarity ${example.similarity.toFixed(3)}`);
      element("examples").append(item);
    }
  } catch (error) {
    if (turn === state.code) say(error.message, true);
  }
}

function showCodes(found) {
  element("result").hidden = false;
  state.shown = null;
  element("code").hidden = true;
  makeGrid(found.codes);
}

function showAnswer(found) {
  const rows = found.classes || [];
  const pixels = found.width * found.height;
  element("answer").hidden = false;
  element("classes").hidden = rows.length === 0;
  element("classes").tBodies[0].replaceChildren(...rows.map((one) => {
    const row = document.createElement("tr");
    const share = one.probability === undefined ? one.pixels / pixels : one.probability;
    for (const text of [one.class, (100 * share).toFixed(1) + " %"]) {
      row.insertCell().textContent = text;
    }
    return row;
  }));
  element("text").hidden = rows.length > 0;
  element("text").textContent = rows.length > 0 ? "" : JSON.stringify(found.features, null, 1);
}

async function show(file) {
  const turn = ++state.image;
  const path = endpoint();
  if (!path) {
    await askModel();
    if (!endpoint()) return;
    show(file);
    return;
  }
  say("Asking …");
  try {
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const answer = await (await ask(path, { method: "POST", body: file, headers: { "Content-Type": type } })).json();
    if (turn !== state.image) return;
    const found = answer.images[0];
    element("result").hidden = element("answer").hidden = true;
    if (found.codes) {
      await draw(file, found.seen);
      if (turn !== state.image) return;
      showCodes(found);
      say(`${new Set(state.codes).size} different codes in ${state.codes.length} patches.`);
    } else {
      showAnswer(found);
      say("Answered.");
    }
  } catch (error) {
    if (turn === state.image) say(error.message, true);
  }
}

function indexOf(target) {
  const cell = target.closest("[role=gridcell]");
  return cell ? Number(cell.dataset.index) : -1;
}

function move(event) {
  const columns = Number(element("grid").getAttribute("aria-colcount"));
  const at = indexOf(event.target);
  const column = at % columns;
  const to = {
    ArrowLeft: column > 0 ? at - 1 : at,
    ArrowRight: column < columns - 1 ? at + 1 : at,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: at - column,
    End: at - column + columns - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (!state.cells[to]) return;
  state.cells[at].tabIndex = -1;
  state.cells[to].tabIndex = 0;
  state.cells[to].focus();
}

element("grid").addEventListener("pointerover", (event) => choose(indexOf(event.target)));
element("grid").addEventListener("focusin", (event) => choose(indexOf(event.target)));
element("grid").addEventListener("keydown", move);
element("numbers").addEventListener("change", (event) => {
  element("grid").classList.toggle("plain", !event.target.checked);
});
element("file").addEventListener("change", (event) => {
  if (event.target.files[0]) show(event.target.files[0]);
});
element("token").addEventListener("change", askModel);
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", type === "dragover");
    const file = type === "drop" && event.dataTransfer.files[0];
    if (file) show(file);
  });
}
askModel();
