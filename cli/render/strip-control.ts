/** Text of builds and machines as it may be shown on a terminal: no escape sequences, no control characters but tab. */
export function stripControl(text: string): string {
  return (
    text
      // oxlint-disable-next-line no-control-regex -- removing control characters is the purpose
      .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g, "")
      // oxlint-disable-next-line no-control-regex -- see above
      .replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "")
      .slice(0, 16 * 1024)
  );
}
