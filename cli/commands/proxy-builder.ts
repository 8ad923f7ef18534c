import { once } from "node:events";
import type { BuilderView } from "../../builder/gate/builder-view.ts";
import { askGate, openGateTunnel } from "../builder/gate-client.ts";
import { gateTarget, type GateOptions } from "../builder/gate-target.ts";
import { addressText, defaultListenAddress, parseListenAddress } from "../builder/listen-address.ts";
import { openLocalProxy } from "../builder/local-proxy.ts";
import { printResult, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { abortOnSignals } from "./abort-on-signals.ts";

export type ProxyBuilderOptions = GateOptions & { readonly listen?: string; readonly output: OutputFormat; readonly quiet?: boolean };

/** Opens a socket on this machine that leads to the org's builder, until it is interrupted. */
export async function proxyBuilder({ listen, output, quiet = false, ...options }: ProxyBuilderOptions): Promise<number> {
  using stop = abortOnSignals();
  const target = gateTarget(options, process.env);
  const wanted = listen === undefined ? await defaultListenAddress(target.org, process.env) : parseListenAddress(listen);
  // a wrong token is told now, and not to the first client as a connection that breaks
  await askGate<BuilderView>(target, { method: "GET", path: "" }, stop.signal);
  await using proxy = await openLocalProxy({
    address: wanted,
    openTunnel: (signal) => openGateTunnel(target, signal),
    onProblem: (error) => toStderr(`Error: ${error.message}\n`),
  });
  const address = addressText(proxy.address);
  if (output === "text") toStdout(`${address}\n`);
  else printResult(output, { org: target.org, address });
  if (!quiet) toStderr(howToUse(target.org, address));
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  return 0;
}

const howToUse = (org: string, address: string): string => `--> The builder of "${org}", until Ctrl-C; the first connection wakes it
    buildctl --addr ${address} build …
    docker buildx create --name slipway --driver remote ${address}
`;
