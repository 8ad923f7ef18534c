const sequences = [
  // OSC, DCS, SOS, PM, APC up to their terminator
  String.raw`(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?`,
  // CSI: colours, cursor
  String.raw`(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?`,
  // any other escape sequence
  String.raw`\u001b[ -/]*[0-~]?`,
  // C0 but tab and newline, DEL, C1
  String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f]`,
];
const control = new RegExp(sequences.join("|"), "g");

/** Text of a machine or build without anything that a terminal obeys; tabs and newlines stay. */
export function stripControl(text: string): string {
  return text.replace(control, "");
}

export const lineLimitBytes = 16 * 1024;

/** A single line as it may be shown: no control characters, 16 KiB at most. */
export function presentableLine(line: string): string {
  const stripped = stripControl(line);
  if (Buffer.byteLength(stripped) <= lineLimitBytes) return stripped;
  return `${Buffer.from(stripped)
    .subarray(0, lineLimitBytes)
    .toString("utf8")
    .replace(/\ufffd+$/, "")}…`;
}
