import type { Readable } from "node:stream";

/** Opens the body of the request at hand; called by the handlers that take one, at most once. */
export type OpenBody = () => Readable;
