import { BoundedMap } from "../../config/bounded-map.ts";
import { isTruncated, rcodeOf, rcodes, ttlOffsets } from "./wire.ts";

export type AnswerCache = {
  /** With its times to live as they are now. */
  get(key: string): Buffer | undefined;
  put(key: string, answer: Buffer): void;
};

const mostAnswers = 512;
const mostBytes = 4096;
/** long enough for a build's thousand questions about one host, too short to be in the way of a change */
const longestMs = 30_000;

/** Answers for as long as the shortest time to live in them, 30 s at most; such as say that there is nothing, too. */
export function createAnswerCache(now: () => number = () => performance.now()): AnswerCache {
  const entries = new BoundedMap<string, { readonly answer: Buffer; readonly sinceMs: number; readonly forMs: number }>(mostAnswers);
  return {
    get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      const ageMs = now() - entry.sinceMs;
      if (ageMs < entry.forMs) return aged(entry.answer, Math.floor(ageMs / 1000));
      entries.delete(key);
      return undefined;
    },
    put(key, answer) {
      const offsets = ttlOffsets(answer);
      const isFact = rcodeOf(answer) === rcodes.noError || rcodeOf(answer) === rcodes.noSuchName;
      if (offsets === undefined || offsets.length === 0 || answer.length > mostBytes || !isFact || isTruncated(answer)) return;
      const ttlSeconds = Math.min(...offsets.map((offset) => answer.readUInt32BE(offset)));
      if (ttlSeconds > 0) entries.set(key, { answer, sinceMs: now(), forMs: Math.min(ttlSeconds * 1000, longestMs) });
    },
  };
}

function aged(answer: Buffer, seconds: number): Buffer {
  const copy = Buffer.from(answer);
  for (const offset of ttlOffsets(copy) ?? []) copy.writeUInt32BE(copy.readUInt32BE(offset) - seconds, offset);
  return copy;
}
