import { createAnswerCache } from "./answer-cache.ts";
import { askServer } from "./ask-server.ts";
import type { Server } from "./host-servers.ts";
import { rcodeOf, rcodes, withId } from "./wire.ts";

export type Forwarder = {
  /**
   * What the first of the resolvers answers that knows; it has the id of `query`.
   * @throws ForwardError when none does within the time for it, or the org asks for too much at once
   */
  forward(query: Buffer): Promise<Buffer>;
  /** Whoever still waits gets a ForwardError. */
  close(): void;
};

export class ForwardError extends Error {
  override readonly name = "ForwardError";
  readonly code: "BUSY" | "UNANSWERED";

  constructor(code: "BUSY" | "UNANSWERED", message: string) {
    super(message);
    this.code = code;
  }
}

export type ForwarderOptions = {
  readonly servers: () => Promise<readonly Server[]>;
  /** for one resolver's answer; 1500 */
  readonly tryTimeoutMs?: number;
  /** all of them are asked so often; 2 */
  readonly rounds?: number;
  /** questions that may wait for an answer, those that are the same counted each; 256 */
  readonly mostWaiting?: number;
};

/** Questions of one org to the host's resolvers, and what they answered a moment ago. Orgs share neither: what one asks, no other can tell. */
export function createForwarder(options: ForwarderOptions): Forwarder {
  const { servers, tryTimeoutMs = 1500, rounds = 2, mostWaiting = 256 } = options;
  const cache = createAnswerCache();
  const underWay = new Map<string, Promise<Buffer>>();
  const closing = new AbortController();
  let waiting = 0;
  let first = 0;

  async function ask(query: Buffer): Promise<Buffer> {
    const known = await servers();
    let refusal: Buffer | undefined;
    const failures: string[] = [];
    for (let turn = 0; turn < rounds * known.length; turn++) {
      const index = (first + turn) % known.length;
      try {
        const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(tryTimeoutMs)]);
        const answer = await askServer(known[index]!, query, signal);
        const rcode = rcodeOf(answer);
        if (rcode === rcodes.noError || rcode === rcodes.noSuchName) {
          // one that is dead is not waited for with each question
          first = index;
          return answer;
        }
        refusal ??= answer;
      } catch (error) {
        if (closing.signal.aborted) break;
        failures.push(`${known[index]!.address}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (refusal !== undefined) return refusal;
    throw new ForwardError("UNANSWERED", `No resolver of the host answered: ${failures.join("; ")}`);
  }

  function share(key: string, query: Buffer): Promise<Buffer> {
    const earlier = underWay.get(key);
    if (earlier !== undefined) return earlier;
    const asking = ask(query).finally(() => underWay.delete(key));
    underWay.set(key, asking);
    return asking;
  }

  return {
    async forward(query) {
      // all but the id: answers are passed on as they came, for the very same question
      const key = query.toString("latin1", 2);
      const id = query.readUInt16BE(0);
      const remembered = cache.get(key);
      if (remembered !== undefined) return withId(remembered, id);
      if (waiting >= mostWaiting) throw new ForwardError("BUSY", `More than ${mostWaiting} questions wait for an answer`);
      waiting++;
      try {
        const answer = await share(key, query);
        cache.put(key, answer);
        return withId(answer, id);
      } finally {
        waiting--;
      }
    },
    close: () => closing.abort(new Error("the resolver ends")),
  };
}
