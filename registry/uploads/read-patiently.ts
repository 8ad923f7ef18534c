import { type Readable, addAbortSignal } from "node:stream";

/** The chunks of a body, and `waiting` each time none has come for `patienceMs`, so that the reader can let go of what others need. */
export async function* readPatiently(
  body: Readable,
  { patienceMs, signal }: { readonly patienceMs: number; readonly signal: AbortSignal },
): AsyncGenerator<Buffer | "waiting"> {
  const chunks = (addAbortSignal(signal, body) as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = chunks.next();
      for (let waiting = true; waiting;) {
        waiting = await isSlow(next, patienceMs);
        if (waiting) yield "waiting";
      }
      const { done, value } = await next;
      if (done === true) return;
      yield value;
    }
  } finally {
    body.destroy();
  }
}

async function isSlow(settling: Promise<unknown>, patienceMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(true), patienceMs)));
  const settled = settling.then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}
