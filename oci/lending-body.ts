import { Readable } from "node:stream";

/**
 * A stream whose chunks may lie in memory that it uses again. By itself it copies each chunk, as any reader of a stream may expect; a
 * reader that calls `lend` before the first chunk gets the memory itself, and gives each chunk back, in order, when done with it.
 */
export abstract class LendingBody extends Readable {
  abstract lend(): void;
  abstract giveBack(): void;
}
