// Crops of a region, side by side: every PSNR is computed here from the very pixels that are shown.
"use strict";
(() => {
  const view = JSON.parse(document.getElementById("view").textContent);
  const [top0, left0] = view.origin;
  const [height, width] = view.size;
  const controls = document.getElementById("controls");
  const figures = [...document.querySelectorAll("#pictures .picture")];
  const stage = document.getElementById("stage");
  const sliding = document.getElementById("sliding");
  const split = document.getElementById("split");

  const context = (canvas, w, h) => {
    canvas.width = w;
    canvas.height = h;
    return canvas.getContext("2d", { willReadFrequently: true });
  };

  // The samples of a picture, decoded once: RGBA, gray pictures have three equal channels.
  const decode = async (figure) => {
    const image = figure.querySelector("img");
    await image.decode();
    const drawn = context(document.createElement("canvas"), width, height);
    drawn.drawImage(image, 0, 0);
    return drawn.getImageData(0, 0, width, height);
  };

  const luma = (weights, r, g, b) => {
    const y = weights.offset + (weights.r * r + weights.g * g + weights.b * b) / weights.divisor;
    return weights.rounded ? Math.floor(y + 0.5) : y;
  };

  // PSNR in dB of a crop, peak 255: of all samples, or of the luma that the method's row is measured on.
  const psnr = (a, b, crop, weights) => {
    let sum = 0;
    let count = 0;
    for (let y = crop.top - top0; y < crop.top - top0 + crop.side; y += 1) {
      for (let x = crop.left - left0; x < crop.left - left0 + crop.side; x += 1) {
        const i = 4 * (y * width + x);
        if (weights) {
          const d = luma(weights, a[i], a[i + 1], a[i + 2]) - luma(weights, b[i], b[i + 1], b[i + 2]);
          sum += d * d;
          count += 1;
        } else {
          for (let c = 0; c < 3; c += 1) sum += (a[i + c] - b[i + c]) ** 2;
          count += 3;
        }
      }
    }
    return 10 * Math.log10(65025 / (sum / count));
  };

  // Arrow keys: the images of the scene, with Shift its levels; not while a control that uses them has the focus.
  for (const hint of document.querySelectorAll(".keys")) hint.hidden = false;
  document.addEventListener("keydown", (event) => {
    const { key, shiftKey, altKey, ctrlKey, metaKey, target } = event;
    if (!["ArrowLeft", "ArrowRight"].includes(key) || altKey || ctrlKey || metaKey) return;
    if (target.closest("input, select, textarea, .scroll")) return;
    const back = key === "ArrowLeft";
    const which = shiftKey ? `[data-level=${back ? "lower" : "higher"}]` : `[rel=${back ? "prev" : "next"}]`;
    document.querySelector(`.jump ${which}`)?.click();
  });

  // The pictures of a view as one, on white: each crop in whole multiples of its pixels, its name and its PSNR below.
  const SIDE = 240;
  const LINE = 18;
  const composed = (shown, side) => {
    const times = Math.max(1, Math.round(SIDE / side));
    const size = times * side;
    const across = Math.min(shown.length, Math.max(1, Math.floor(1500 / (size + 12))));
    const drawn = document.createElement("canvas").getContext("2d");
    const font = (weight) => `${weight} 13px system-ui, sans-serif`;
    const wrapped = (text, weight) => {
      drawn.font = font(weight);
      const lines = [""];
      for (const word of text.split(/\s+/)) {
        const longer = `${lines[lines.length - 1]} ${word}`.trim();
        if (lines[lines.length - 1] && drawn.measureText(longer).width > size) lines.push(word);
        else lines[lines.length - 1] = longer;
      }
      return lines.map((line) => [line, weight]);
    };
    const cells = shown.map(({ canvases, name, value }) => ({
      canvases, lines: [...wrapped(name, 600), ...(value ? wrapped(value, 400) : [])],
    }));
    const canvases = Math.max(...cells.map((cell) => cell.canvases.length));
    const height = canvases * (size + 4) + Math.max(...cells.map((cell) => cell.lines.length)) * LINE + 12;
    const canvas = drawn.canvas;
    canvas.width = across * (size + 12) + 12;
    canvas.height = Math.ceil(cells.length / across) * height + 12;
    drawn.fillStyle = "#fff";
    drawn.fillRect(0, 0, canvas.width, canvas.height);
    drawn.imageSmoothingEnabled = false;
    cells.forEach((cell, index) => {
      const left = 12 + (index % across) * (size + 12);
      const top = 12 + Math.floor(index / across) * height;
      cell.canvases.forEach((own, row) => drawn.drawImage(own, left, top + row * (size + 4), size, size));
      drawn.fillStyle = "#000";
      cell.lines.forEach(([line, weight], row) => {
        drawn.font = font(weight);
        drawn.fillText(line, left, top + canvases * (size + 4) + 12 + row * LINE, size);
      });
    });
    return canvas;
  };

  const start = async () => {
    const pixels = await Promise.all(figures.map(decode));
    let crop = { ...view.crops[0] };
    const clamp = (value, low, high) => Math.max(low, Math.min(high, Math.round(value)));
    const fit = (wanted) => {
      const side = clamp(wanted.side || 8, 8, Math.min(width, height));
      return {
        side,
        top: clamp(wanted.top || top0, top0, top0 + height - side),
        left: clamp(wanted.left || left0, left0, left0 + width - side),
      };
    };

    for (const figure of figures) {
      const canvas = document.createElement("canvas");
      canvas.className = "pixels crop";
      canvas.setAttribute("role", "img");
      const error = document.createElement("canvas");
      error.className = "pixels error";
      error.setAttribute("role", "img");
      error.hidden = true;
      figure.querySelector("img").hidden = true;
      figure.prepend(canvas, error);
    }

    const drawError = (canvas, index, gain) => {
      const { reference } = view.pictures[index];
      const drawn = context(canvas, crop.side, crop.side);
      const result = drawn.createImageData(crop.side, crop.side);
      const a = pixels[index].data;
      const b = pixels[reference].data;
      for (let y = 0; y < crop.side; y += 1) {
        for (let x = 0; x < crop.side; x += 1) {
          const i = 4 * ((y + crop.top - top0) * width + x + crop.left - left0);
          const mean = (Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2])) / 3;
          const level = Math.min(1, (gain * mean) / 255);
          const o = 4 * (y * crop.side + x);
          // Black through red and yellow to white.
          result.data[o] = 255 * Math.min(1, 3 * level);
          result.data[o + 1] = 255 * Math.max(0, Math.min(1, 3 * level - 1));
          result.data[o + 2] = 255 * Math.max(0, Math.min(1, 3 * level - 2));
          result.data[o + 3] = 255;
        }
      }
      drawn.putImageData(result, 0, 0);
    };

    const drawCrops = () => {
      const gain = Number(controls.elements.gain.value);
      const errors = controls.elements.errors.checked;
      const where = `row ${crop.top}, column ${crop.left}, ${crop.side}×${crop.side} pixels`;
      figures.forEach((figure, index) => {
        const about = view.pictures[index];
        const canvas = figure.querySelector("canvas.crop");
        context(canvas, crop.side, crop.side).putImageData(
          pixels[index], left0 - crop.left, top0 - crop.top, crop.left - left0, crop.top - top0, crop.side, crop.side);
        canvas.setAttribute("aria-label", `${about.title}, crop at ${where}`);
        const error = figure.querySelector("canvas.error");
        const measured = about.reference >= 0 && about.kind !== "truth";
        error.hidden = !errors || !measured;
        if (!error.hidden) {
          drawError(error, index, gain);
          error.setAttribute("aria-label", `Error of ${about.title}, ${gain} times as bright, crop at ${where}`);
        }
        const value = figure.querySelector(".crop-psnr .value");
        if (value && measured) {
          const found = psnr(pixels[index].data, pixels[about.reference].data, crop, about.luma);
          value.textContent = Number.isFinite(found) ? found.toFixed(2) : "∞";
          figure.querySelector(".crop-psnr .of").textContent = `${about.measure}, this crop`;
          figure.dataset.psnr = String(found);
        }
      });
      const methods = figures.filter((_, index) => view.pictures[index].kind === "method");
      const best = Math.max(...methods.map((figure) => Number(figure.dataset.psnr ?? -1)));
      for (const figure of methods) {
        const mark = methods.length > 1 && Number(figure.dataset.psnr) === best;
        figure.querySelector(".crop-psnr")?.classList.toggle("leads", mark);
      }
    };

    const drawStage = (dragged) => {
      const drawn = context(stage, width, height);
      const first = Number(sliding.querySelector("[name=first]").value);
      const second = Number(sliding.querySelector("[name=second]").value);
      const at = Math.round((width * Number(split.value)) / 100);
      drawn.putImageData(pixels[second], 0, 0);
      if (at > 0) drawn.putImageData(pixels[first], 0, 0, 0, 0, at, height);
      drawn.fillStyle = "#fff";
      drawn.fillRect(at - 0.5, 0, 1, height);
      const box = dragged || crop;
      drawn.strokeStyle = "#fff";
      drawn.strokeRect(box.left - left0 + 0.5, box.top - top0 + 0.5, box.side - 1, box.side - 1);
      drawn.strokeStyle = "#000";
      drawn.strokeRect(box.left - left0 - 0.5, box.top - top0 - 0.5, box.side + 1, box.side + 1);
      split.setAttribute("aria-valuetext", `${split.value} % ${view.pictures[first].title}`);
    };

    const choose = (wanted, own) => {
      crop = fit(wanted);
      for (const name of ["top", "left", "side"]) controls.elements[name].value = crop[name];
      if (own) controls.querySelector("[name=crop][value=own]").checked = true;
      drawCrops();
      drawStage();
    };

    controls.hidden = false;
    sliding.hidden = false;
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.addEventListener("input", (event) => {
      const { name, value } = event.target;
      if (name === "crop" && value !== "own") choose(view.crops[Number(value)], false);
      else if (name === "picture") figures[Number(value)].hidden = !event.target.checked;
      else if (name === "errors" || name === "gain") drawCrops();
    });
    // Numbers are taken when they are finished: "1" on the way to "120" is no crop.
    controls.addEventListener("change", (event) => {
      if (!["top", "left", "side"].includes(event.target.name)) return;
      const wanted = {};
      for (const name of ["top", "left", "side"]) wanted[name] = Number(controls.elements[name].value);
      choose(wanted, true);
    });
    document.getElementById("save").addEventListener("click", () => {
      const shown = figures.filter((figure) => !figure.hidden).map((figure) => ({
        canvases: [...figure.querySelectorAll("canvas")].filter((canvas) => !canvas.hidden),
        name: figure.querySelector("figcaption b").textContent,
        value: figure.querySelector(".crop-psnr")?.textContent ?? "",
      }));
      if (!shown.length) return;
      const link = document.createElement("a");
      link.href = composed(shown, crop.side).toDataURL("image/png");
      link.download = `${view.name}-${crop.left}-${crop.top}-${crop.side}x${crop.side}.png`;
      link.click();
    });
    sliding.addEventListener("input", () => drawStage());
    sliding.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

    let from = null;
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      return [
        top0 + ((event.clientY - box.top) / box.height) * height,
        left0 + ((event.clientX - box.left) / box.width) * width,
      ];
    };
    const dragged = (event) => {
      const [y, x] = at(event);
      const side = Math.max(Math.abs(y - from[0]), Math.abs(x - from[1]));
      return fit({ top: Math.min(y, from[0]), left: Math.min(x, from[1]), side });
    };
    stage.addEventListener("pointerdown", (event) => {
      from = at(event);
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => { if (from) drawStage(dragged(event)); });
    stage.addEventListener("pointerup", (event) => {
      if (from) choose(dragged(event), true);
      from = null;
    });
    choose(crop, false);
    document.documentElement.dataset.ready = "yes";
  };
  start();
})();
