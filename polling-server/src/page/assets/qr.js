// QR codes, as a picture that scales.

import { correction, generate } from "/assets/vendor/lean-qr/index.mjs";
import { picture } from "./dom.js";

/** Modules of white that scanners need around a code (ISO/IEC 18004). */
const MARGIN = 4;

/** The code of a text. Dark on white in both themes, because scanners expect it so. */
export function qrCode(content, label) {
  const code = generate(content, { minCorrectionLevel: correction.M });
  let path = "";
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) {
      path += code.get(x, y) ? `M${x} ${y}h1v1h-1z` : "";
    }
  }
  const size = code.size + 2 * MARGIN;
  return picture(`${-MARGIN} ${-MARGIN} ${size} ${size}`, path, {
    class: "code",
    role: "img",
    "aria-label": label,
    "shape-rendering": "crispEdges",
  });
}
