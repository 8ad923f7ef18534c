import { once } from "node:events";
import http, { type IncomingMessage, type RequestOptions } from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import { gatePath, tunnelProtocol } from "../../config/builder-gate.ts";
import { keepOpen } from "../../config/join-sockets.ts";
import { basicAuthorization } from "../../oci/client/bearer-tokens.ts";
import { limitConnecting } from "../../oci/client/limit-connecting.ts";
import { CliError } from "../errors.ts";
import type { GateTarget } from "./gate-target.ts";

export type GateCall = { readonly method: "GET" | "POST"; readonly path: string; readonly body?: object };

const connectTimeoutMs = 5_000;

/**
 * Asks the gate about the org's builder; `path` is what follows it.
 * @throws CliError with what the gate said, or when it does not answer (exit code 10).
 */
export async function askGate<T>(target: GateTarget, call: GateCall, signal: AbortSignal): Promise<T> {
  return JSON.parse(await text(await streamFromGate(target, call, signal))) as T;
}

/** The same for an answer that is no JSON, or without end. */
export async function streamFromGate(target: GateTarget, { method, path, body }: GateCall, signal: AbortSignal): Promise<IncomingMessage> {
  const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const headers = content === undefined ? {} : { "content-type": "application/json", "content-length": content.length };
  const request = open(target, { method, path: `${gatePath(target.org)}${path}`, headers, signal });
  request.end(content);
  const [answer] = (await once(request, "response", { signal }).catch((cause: unknown) => fail(target, cause, signal))) as [
    IncomingMessage,
  ];
  if (answer.statusCode !== 200) throw await refusal(answer);
  return answer;
}

/**
 * A stream of raw bytes to the org's buildkitd, which it wakes.
 * @throws CliError with what the gate said, or when it does not answer.
 */
export async function openGateTunnel(target: GateTarget, signal: AbortSignal): Promise<Socket> {
  const headers = { connection: "Upgrade", upgrade: tunnelProtocol.name };
  const request = open(target, { method: "GET", path: tunnelProtocol.path(target.org), headers, signal });
  const tunnel = new Promise<Socket>((resolve, reject) => {
    request.once("upgrade", (_answer, socket: Socket, head) => {
      if (head.length > 0) socket.unshift(head);
      keepOpen(socket);
      resolve(socket);
    });
    request.once("response", (answer) => void refusal(answer).then(reject, reject));
    request.once("error", reject);
  });
  request.end();
  return await tunnel.catch((cause: unknown) => fail(target, cause, signal));
}

function open({ url, login, ca }: GateTarget, options: RequestOptions): http.ClientRequest {
  const headers = { ...(options.headers as Record<string, string>), authorization: basicAuthorization(login) };
  const transport = url.protocol === "https:" ? https : http;
  // a connection of its own: a tunnel keeps it, and nothing else asks often
  const request = transport.request(url, { ...options, headers, agent: false, ...(ca === undefined ? {} : { ca }) });
  limitConnecting(request, url, connectTimeoutMs, () => new Error(`no connection within ${connectTimeoutMs / 1000} s`));
  return request;
}

function fail({ url }: GateTarget, cause: unknown, signal: AbortSignal): never {
  signal.throwIfAborted();
  if (cause instanceof CliError) throw cause;
  throw new CliError(`Cannot reach the builders' gate at "${url.origin}": ${(cause as Error).message}`, {
    outcome: { kind: "control plane unreachable" },
    tryCommand: "on the host: slipway doctor",
    cause,
  });
}

async function refusal(answer: IncomingMessage): Promise<CliError> {
  const said = await text(answer);
  const message = messageOf(said) ?? `the gate answered with status ${answer.statusCode}: ${said.slice(0, 200)}`;
  switch (answer.statusCode) {
    case 401:
    case 403:
      return new CliError(`Cannot reach the builder: ${message}`, { tryCommand: "on the host: slipway tokens create --push" });
    case 409:
      return new CliError(message, { outcome: { kind: "unexpected" }, tryCommand: "slipway builder recreate --force, which ends them" });
    case 429:
    case 503:
      return new CliError(message, { outcome: { kind: "failed", code: "BUILDER_UNAVAILABLE" }, tryCommand: "slipway builder logs" });
    default:
      return new CliError(message);
  }
}

function messageOf(body: string): string | undefined {
  try {
    const { error } = JSON.parse(body) as { readonly error?: { readonly message?: unknown } };
    return typeof error?.message === "string" ? error.message : undefined;
  } catch {
    return undefined;
  }
}
