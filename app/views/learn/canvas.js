// A canvas of cells to paint: press and drag; or arrows to move and space to paint.
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const canvas = parentElement.querySelector("canvas");
  const { side, cells, ink, ground, line, editable, label } = data;
  const scale = window.devicePixelRatio || 1;
  const size = canvas.clientWidth || 384;
  canvas.width = canvas.height = Math.round(size * scale);
  canvas.setAttribute("aria-label", label);
  canvas.style.cursor = editable ? "crosshair" : "default";
  const pen = canvas.getContext("2d");
  const shown = [...cells]; // how full each cell is, from 0 to 1
  let cursor = null;

  function draw() {
    const step = canvas.width / side;
    pen.globalAlpha = 1;
    pen.fillStyle = ground;
    pen.fillRect(0, 0, canvas.width, canvas.width);
    pen.fillStyle = ink;
    shown.forEach((full, cell) => {
      if (!full) return;
      pen.globalAlpha = 0.15 + 0.85 * full;
      const [row, column] = [Math.floor(cell / side), cell % side];
      pen.fillRect(column * step, row * step, step, step);
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = line;
    pen.lineWidth = 1;
    for (let k = 0; k <= side; k++) {
      const at = Math.min(Math.round(k * step) + 0.5, canvas.width - 0.5);
      pen.beginPath();
      pen.moveTo(at, 0); pen.lineTo(at, canvas.width);
      pen.moveTo(0, at); pen.lineTo(canvas.width, at);
      pen.stroke();
    }
    if (cursor !== null) {
      pen.lineWidth = 2 * scale;
      pen.strokeStyle = ink;
      pen.strokeRect((cursor % side) * step, Math.floor(cursor / side) * step, step, step);
    }
  }

  function report() {
    setStateValue("cells", shown.flatMap((full, cell) => (full ? [cell] : [])));
  }

  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const at = (offset, length) => Math.max(0, Math.min(side - 1, Math.floor((offset / length) * side)));
    return at(event.clientY - box.top, box.height) * side + at(event.clientX - box.left, box.width);
  }

  let value = null; // what the stroke paints: the opposite of the cell that it began in
  let last = null;
  function paintTo(cell) {
    // Fast strokes skip cells: paint the whole way from the last one.
    const [r0, c0, r1, c1] = [Math.floor(last / side), last % side, Math.floor(cell / side), cell % side];
    const steps = Math.max(Math.abs(r1 - r0), Math.abs(c1 - c0), 1);
    for (let k = 0; k <= steps; k++) {
      const row = Math.round(r0 + ((r1 - r0) * k) / steps);
      const column = Math.round(c0 + ((c1 - c0) * k) / steps);
      shown[row * side + column] = value;
    }
    last = cell;
    draw();
  }
  canvas.onpointerdown = (event) => {
    if (!editable) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = cellAt(event);
    value = shown[last] ? 0 : 1;
    cursor = null;
    paintTo(last);
  };
  canvas.onpointermove = (event) => value !== null && paintTo(cellAt(event));
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (value === null) return;
    value = null;
    report();
  };
  canvas.onkeydown = (event) => {
    const moves = { ArrowUp: -side, ArrowDown: side, ArrowLeft: -1, ArrowRight: 1 };
    if (!editable || !(event.key in moves || event.key === " ")) return;
    event.preventDefault();
    const here = cursor ?? 0;
    if (event.key === " ") {
      shown[here] = shown[here] ? 0 : 1;
      cursor = here;
      report();
    } else if (cursor === null) {
      cursor = 0;
    } else {
      const next = here + moves[event.key];
      const sameRow = Math.floor(next / side) === Math.floor(here / side);
      if (next >= 0 && next < side * side && (Math.abs(moves[event.key]) > 1 || sameRow)) cursor = next;
    }
    draw();
  };
  canvas.onblur = () => { cursor = null; draw(); };
  draw();
}
