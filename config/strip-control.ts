const sequences = [
  // OSC, DCS, SOS, PM, APC up to their terminator
  String.raw`(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?`,
  // CSI: colours, cursor
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?`,
  // any other escape sequence
  String.raw`\u001b[ -/]*[0-~]?`,
  // C0 but tab, newline and carriage return, DEL, C1
  String.raw`[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]`,
  // line and paragraph separators; what turns the direction of writing, and so hides what is written
  String.raw`[\u2028\u2029\u202a-\u202e\u2066-\u2069]`,
];
const control = new RegExp(sequences.join("|"), "g");

/** Text of a machine or build without anything that a terminal obeys: of a line that was overwritten the last state, tabs and newlines stay. */
export function stripControl(text: string): string {
  return text.replace(control, "").split("\n").map(lastState).join("\n");
}

const lastState = (line: string): string => (line.includes("\r") ? (line.replace(/\r+$/, "").split("\r").at(-1) ?? "") : line);

export const lineLimitBytes = 16 * 1024;

/** The same as a single line, 16 KiB at most. */
export function presentableLine(line: string): string {
  const stripped = stripControl(line).replaceAll("\n", "");
  if (Buffer.byteLength(stripped) <= lineLimitBytes) return stripped;
  return `${Buffer.from(stripped)
    .subarray(0, lineLimitBytes)
    .toString("utf8")
    .replace(/\ufffd+$/, "")}…`;
}
