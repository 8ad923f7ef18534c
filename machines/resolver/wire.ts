/** Of DNS messages (RFC 1035, 4.1) what must be done to bytes that are otherwise passed on as they are. */

const headerBytes = 12;
const typeOpt = 41;

/** Flags and return codes in the second word of a message. */
export const flags = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
} as const;
export const rcodes = { noError: 0, serverFailure: 2, noSuchName: 3, notImplemented: 4, refused: 5 } as const;

/** Where the section with its one question ends; undefined when its name is cut short or points elsewhere. */
export function questionEnd(bytes: Buffer): number | undefined {
  if (bytes.length < headerBytes) return undefined;
  const end = nameEnd(bytes, headerBytes, false);
  if (end === undefined || end + 4 > bytes.length) return undefined;
  return end + 4;
}

/** Does not follow pointers: a name ends with the first one. */
function nameEnd(bytes: Buffer, start: number, mayPoint: boolean): number | undefined {
  let at = start;
  while (at < bytes.length) {
    const length = bytes.readUInt8(at);
    if (length === 0) return at + 1;
    if ((length & 0xc0) === 0xc0) return mayPoint ? at + 2 : undefined;
    if ((length & 0xc0) !== 0) return undefined;
    at += length + 1;
  }
  return undefined;
}

/** Where the times to live of a message's records are; undefined when it is damaged. OPT has another thing in that place. */
export function ttlOffsets(bytes: Buffer): readonly number[] | undefined {
  const start = questionEnd(bytes);
  if (start === undefined) return undefined;
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  const found: number[] = [];
  let at = start;
  for (let index = 0; index < records; index++) {
    const end = nameEnd(bytes, at, true);
    if (end === undefined || end + 10 > bytes.length) return undefined;
    if (bytes.readUInt16BE(end) !== typeOpt) found.push(end + 4);
    at = end + 10 + bytes.readUInt16BE(end + 8);
    if (at > bytes.length) return undefined;
  }
  return found;
}

export const rcodeOf = (message: Buffer): number => message.readUInt16BE(2) & 0xf;
export const isTruncated = (message: Buffer): boolean => (message.readUInt16BE(2) & flags.truncated) !== 0;

export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** An answer to `query` that has no more than its question. `query` may be an answer, too: then it is cut down to that. */
export function bareAnswer(query: Buffer, end: number, set: number): Buffer {
  const answer = Buffer.from(query.subarray(0, end));
  answer.writeUInt16BE((query.readUInt16BE(2) & (0x7800 | flags.recursionDesired)) | flags.response | set, 2);
  answer.writeUInt16BE(1, 4);
  answer.fill(0, 6, headerBytes);
  return answer;
}

/** Whether `answer` is one to `query`: the same id and the same question, in whatever case it is repeated. */
export function answers(query: Buffer, answer: Buffer): boolean {
  const end = questionEnd(query);
  if (end === undefined || answer.length < end || answer.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  if ((answer.readUInt16BE(2) & flags.response) === 0 || answer.readUInt16BE(4) !== 1) return false;
  return lowerCase(answer, end) === lowerCase(query, end);
}

const lowerCase = (message: Buffer, end: number): string => message.toString("latin1", headerBytes, end).toLowerCase();

/** As messages go over TCP: after their length. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
