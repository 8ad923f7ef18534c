import { isLoopback } from "../../config/builder-gate.ts";
import { systemUser, trustedCa } from "../../config/registry-client.ts";
import type { Settings } from "../../config/settings.ts";
import { urlHost } from "../../config/url-host.ts";
import type { Login } from "../../oci/routes/basic-login.ts";
import { CliError } from "../errors.ts";
import { findSettings, requireSettings, type InstanceOptions } from "../instance.ts";

export type GateOptions = InstanceOptions & { readonly gate?: string; readonly org?: string };

/** Where a host's gate is, whose builder is meant, and who asks. */
export type GateTarget = { readonly url: URL; readonly org: string; readonly login: Login; readonly ca?: string };

const makeToken = "on the host: slipway tokens create --push, then SLIPWAY_TOKEN=… here";

/**
 * The gate named by `--gate` or, on the host, that of the instance. The token is that of SLIPWAY_TOKEN; the instance's own is used for its
 * own gate alone.
 * @throws CliError when there is no gate or no token, or when the token would travel unencrypted.
 */
export function gateTarget(options: GateOptions, env: NodeJS.ProcessEnv): GateTarget {
  const settings = options.gate === undefined ? requireSettings(options) : findSettings(options);
  const url = parseGateUrl(options.gate ?? ownGate(settings));
  const ca = trustedCa(settings?.caBundle);
  return {
    url,
    org: options.org ?? settings?.defaultOrg ?? "default",
    login: env.SLIPWAY_TOKEN
      ? { username: "token", password: env.SLIPWAY_TOKEN }
      : ownLogin(options.gate === undefined ? settings : undefined),
    ...(ca === undefined ? {} : { ca }),
  };
}

function ownGate(settings: Settings | undefined): string {
  const gate = settings?.builder.gate;
  if (gate === undefined)
    throw new CliError("Cannot reach the builder: this instance is of before builders could be reached", { tryCommand: "slipway up" });
  const { host, port } = gate.listen;
  return gate.url ?? `${gate.tls === undefined ? "http" : "https"}://${urlHost(host)}:${port}`;
}

function ownLogin(settings: Settings | undefined): Login {
  const token = settings?.registry.systemToken;
  if (token !== undefined) return { username: systemUser, password: token };
  throw new CliError("Cannot reach the builder without a token: expected a deploy token for the whole org in SLIPWAY_TOKEN", {
    tryCommand: makeToken,
  });
}

function parseGateUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new CliError(`Cannot use the gate "${text}": expected an address such as https://host.example:5004`);
  if (url.protocol === "https:" || isLoopback(url.hostname)) return url;
  throw new CliError(`Cannot use the gate "${text}": the token would travel unencrypted; expected https:, or an address of this machine`, {
    tryCommand: `ssh -L 5004:127.0.0.1:5004 ${url.hostname}, and --gate http://127.0.0.1:5004`,
  });
}
