import net from "node:net";
import { LendingBody } from "../../oci/lending-body.ts";
import type { SignedRequest } from "./s3-requests.ts";

/** large reads are what makes it fast: each costs the same, whatever its size */
const chunkBytes = 512 * 1024;
/** one is filled while the other is on its way to the client */
const chunks = 2;
/** each takes a megabyte; those beyond it go the ordinary way */
const mostAtOnce = 24;
/** kept for the next ones */
const mostIdleRings = 4;
const longestHeadBytes = 64 * 1024;
const endOfHead = Buffer.from("\r\n\r\n");

const idleRings: Buffer[][] = [];
let ringsInUse = 0;

export type DirectDownloadOptions = { readonly connectionTimeoutMs: number; readonly requestTimeoutMs: number };

/**
 * GETs an object over a bare socket that reads into two buffers in turn. Node's HTTP client makes a new buffer of 64 KiB for every read,
 * and spends on them several times what reading and writing cost. Undefined when that cannot be: S3 answers otherwise than with the
 * bytes, or too many downloads are under way; the ordinary way then tells why or takes over.
 */
export async function downloadDirectly(
  { url, path, headers }: SignedRequest,
  { connectionTimeoutMs, requestTimeoutMs }: DirectDownloadOptions,
  signal: AbortSignal,
): Promise<LendingBody | undefined> {
  if (url.protocol !== "http:" || ringsInUse === mostAtOnce) return undefined;
  ringsInUse += 1;
  const body = new DirectDownload(url);
  const stop = () => body.destroy(signal.reason as Error);
  body.once("close", () => signal.removeEventListener("abort", stop));
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  const isFound = await body.request(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`, connectionTimeoutMs + requestTimeoutMs);
  signal.throwIfAborted();
  if (!isFound) body.destroy();
  return isFound ? body : undefined;
}

class DirectDownload extends LendingBody {
  readonly #ring: Buffer[];
  readonly #socket: net.Socket;
  #turn = 0;
  #head = Buffer.alloc(0);
  #leftBytes = -1;
  #isLent = false;
  #isEnded = false;
  /** chunks that the reader has: their memory must stay as it is, even after the end */
  #lentOut = 0;
  /** bytes that came with the head */
  #first: Buffer | undefined;
  #answered: (isFound: boolean) => void = () => undefined;

  constructor(url: URL) {
    super({ highWaterMark: chunkBytes });
    this.#ring = idleRings.pop() ?? Array.from({ length: chunks }, () => Buffer.allocUnsafeSlow(chunkBytes));
    const onread = { buffer: () => this.#ring[this.#turn]!, callback: (count: number) => this.#take(count) };
    this.#socket = net.connect({ host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port === "" ? 80 : url.port), onread });
    this.#socket.on("error", (error) => this.destroy(error)).on("close", () => this.#ended());
    // whoever reads hears of it all the same; before there is a reader, `request` tells
    this.on("error", () => undefined);
  }

  /** Whether the answer is the object's bytes. */
  async request(text: string, timeoutMs: number): Promise<boolean> {
    this.#socket.setTimeout(timeoutMs, () => this.destroy());
    this.#socket.write(text);
    const isFound = await new Promise<boolean>((resolve) => (this.#answered = resolve));
    this.#socket.setTimeout(0);
    return isFound;
  }

  lend(): void {
    this.#isLent = true;
  }

  giveBack(): void {
    this.#lentOut -= 1;
    if (this.#isEnded) this.#release();
    else this.#readOn();
  }

  override _read(): void {
    const first = this.#first;
    this.#first = undefined;
    if (first === undefined || this.#hand(first)) this.#readOn();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    this.#answered(false);
    done(error);
  }

  /** Whether to read on. */
  #take(count: number): boolean {
    const chunk = this.#ring[this.#turn]!.subarray(0, count);
    if (this.#leftBytes >= 0) return this.#hand(chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    const headBytes = this.#head.indexOf(endOfHead) + endOfHead.length;
    if (headBytes < endOfHead.length) return this.#head.length < longestHeadBytes || this.#refuse();
    const length = /^HTTP\/1\.1 20[06] [^]*\r\ncontent-length: *(\d+)\r\n/i.exec(this.#head.toString("latin1", 0, headBytes))?.[1];
    if (length === undefined) return this.#refuse();
    this.#leftBytes = Number(length);
    this.#first = this.#head.subarray(headBytes);
    this.#answered(true);
    // the reader has not said yet how it wants its chunks
    return false;
  }

  #refuse(): boolean {
    this.destroy();
    return false;
  }

  #hand(chunk: Buffer): boolean {
    this.#leftBytes -= chunk.length;
    let wantsMore = true;
    if (this.#isLent && chunk.length > 0) {
      this.#lentOut += 1;
      if (chunk.buffer === this.#ring[this.#turn]!.buffer) this.#turn = (this.#turn + 1) % chunks;
      this.push(chunk);
      wantsMore = this.#lentOut < chunks;
    } else if (chunk.length > 0) {
      wantsMore = this.push(Buffer.from(chunk));
    }
    if (this.#leftBytes > 0) return wantsMore;
    this.push(null);
    this.#socket.destroy();
    return false;
  }

  #readOn(): void {
    if (this.#lentOut < chunks) this.#socket.resume();
  }

  #ended(): void {
    this.#isEnded = true;
    ringsInUse -= 1;
    this.#release();
    this.#answered(false);
    if (this.#leftBytes > 0) this.destroy(new Error(`Cannot read from S3: the connection ended ${this.#leftBytes} bytes early`));
  }

  /** Memory that a reader never gives back is left to the garbage collector. */
  #release(): void {
    if (this.#lentOut === 0 && idleRings.length < mostIdleRings) idleRings.push(this.#ring);
  }
}
