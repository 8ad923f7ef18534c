/** Two cells wide in terminals: East Asian wide and fullwidth characters, and emoji. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const ofNoWidth = /[\p{Mn}\p{Me}\p{Cf}]/u;

function cellsOfCharacter(character: string): number {
  if (character < "\u0300") return 1;
  if (ofNoWidth.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}

/** How many cells of a terminal a text without control characters takes. */
export function cellsOf(text: string): number {
  let cells = 0;
  for (const character of text) cells += cellsOfCharacter(character);
  return cells;
}

/** The text within so many cells; what was cut off ends with "…". */
export function fitCells(text: string, cells: number): string {
  if (cellsOf(text) <= cells) return text;
  let kept = "";
  let left = cells - 1;
  for (const character of text) {
    left -= cellsOfCharacter(character);
    if (left < 0) break;
    kept += character;
  }
  return cells < 1 ? "" : `${kept}…`;
}
