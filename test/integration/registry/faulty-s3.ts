import { once } from "node:events";
import { type IncomingMessage, createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { inject } from "vitest";

/**
 * What becomes of a request: it passes, S3 says that it is too much, the connection breaks before or after it was executed, or it waits
 * until the test lets it go.
 */
export type Fault = "pass" | "slow-down" | "reset" | "lose-reply" | Promise<void>;
export type S3Request = { readonly method: string; readonly url: string };

export type FaultyS3 = AsyncDisposable & {
  readonly endpoint: string;
  /** asked for each request from now on */
  decide: (request: S3Request) => Fault;
  /** all requests since the last time it was emptied */
  readonly requests: S3Request[];
};

const slowDown = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/** The S3 server of the run, on a way where things happen. */
export async function openFaultyS3(): Promise<FaultyS3> {
  const { hostname, port } = new URL(inject("s3").endpoint);
  const forward = (incoming: IncomingMessage) => {
    const { url, method, headers } = incoming;
    const onward = httpRequest({ hostname, port, path: url, method, headers });
    incoming.on("error", () => onward.destroy());
    incoming.pipe(onward);
    return onward;
  };
  const server = createServer((incoming, reply) => {
    const request = { method: incoming.method ?? "", url: incoming.url ?? "" };
    faulty.requests.push(request);
    const fault = faulty.decide(request);
    if (fault === "reset") return void incoming.socket.destroy();
    if (fault === "slow-down") {
      incoming.resume();
      return void incoming.on("end", () => reply.writeHead(503, { "content-type": "application/xml" }).end(slowDown));
    }
    void Promise.resolve(fault).then(() => {
      const onward = forward(incoming);
      onward.on("error", () => reply.destroy());
      onward.on("response", (answer) => {
        if (fault === "lose-reply") {
          answer.resume();
          return void answer.on("end", () => incoming.socket.destroy());
        }
        reply.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(reply);
      });
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const faulty: FaultyS3 = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    decide: () => "pass",
    requests: [],
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return faulty;
}

/** A rule that applies to the first `times` requests which match. */
export function firstOf(times: number, matches: (request: S3Request) => boolean, fault: Fault): (request: S3Request) => Fault {
  let left = times;
  return (request) => (matches(request) && left-- > 0 ? fault : "pass");
}
