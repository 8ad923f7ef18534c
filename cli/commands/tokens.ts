import { parseDurationMs } from "../../config/duration.ts";
import { appNameRule, appNameShape } from "../../config/app-config-schema.ts";
import { formatDeployToken, generateDeployToken, hashSecret, isDeployTokenId } from "../../config/deploy-token.ts";
import type { DeployTokenView } from "../../workflows/types.ts";
import { connectControlPlane } from "../control-plane/connect.ts";
import { createDeployToken, listDeployTokens, revokeDeployToken } from "../control-plane/deploy-tokens.ts";
import { CliError } from "../errors.ts";
import { requireSettings, type InstanceOptions } from "../instance.ts";
import { printJson, printList, toStderr, toStdout, type OutputFormat } from "../output.ts";
import { ageOf, tableLines } from "../render/table.ts";

type TokenOptions = InstanceOptions & { readonly output: OutputFormat; readonly org?: string };
export type TokensCreateOptions = TokenOptions & {
  readonly app?: string;
  readonly pull?: boolean;
  readonly push?: boolean;
  readonly delete?: boolean;
  readonly expires?: string;
  readonly name?: string;
};

/** as the registry has it */
const longestName = 100;
const dayMs = 24 * 60 * 60 * 1000;

/** Makes a token for the registry and prints it, once: what is kept of it cannot be turned back. */
export async function tokensCreate(options: TokensCreateOptions): Promise<number> {
  const settings = requireSettings(options);
  if (options.app !== undefined && !appNameShape.test(options.app))
    throw new CliError(`Cannot use "${options.app}": expected ${appNameRule}`);
  const { name = "token" } = options;
  if (name.length < 1 || name.length > longestName)
    throw new CliError(`Cannot use --name "${name.slice(0, 200)}": expected 1 to ${longestName} characters`);
  const expiresInMs = options.expires === undefined ? undefined : parseExpiry(options.expires);
  const token = generateDeployToken();
  await using controlPlane = await connectControlPlane(settings, "; no token was made");
  const made = await createDeployToken(controlPlane, {
    id: token.id,
    secretSha256: hashSecret(token.secret),
    name,
    org: options.org ?? settings.defaultOrg,
    ...(options.app === undefined ? {} : { app: options.app }),
    actions: actionsOf(options),
    ...(expiresInMs === undefined ? {} : { expiresInMs }),
  });
  const text = formatDeployToken(token);
  if (options.output === "text") {
    toStderr(`--> Token ${made.id} for ${scopeOf(made)}: ${made.actions.join(", ")}; it is shown only here\n`);
    toStdout(`${text}\n`);
  } else if (options.output === "json") {
    printJson({ schema_version: 1, token: text, ...tokenJson(made) });
  } else {
    toStdout(`${JSON.stringify({ schema_version: 1, token: text, ...tokenJson(made) })}\n`);
  }
  return 0;
}

export async function tokensList(options: TokenOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings);
  const nowMs = Date.now();
  printList(options.output, {
    name: "tokens",
    items: await listDeployTokens(controlPlane, options.org),
    json: tokenJson,
    text: (tokens) =>
      tableLines(
        ["ID", "NAME", "SCOPE", "ACTIONS", "AGE", "STATE"],
        tokens.map((token) => [
          token.id,
          token.name,
          scopeOf(token),
          token.actions.join(","),
          ageOf(token.createdAtMs, nowMs),
          stateOf(token, nowMs),
        ]),
      ),
  });
  return 0;
}

export async function tokensRevoke(id: string, options: InstanceOptions): Promise<number> {
  const settings = requireSettings(options);
  await using controlPlane = await connectControlPlane(settings, "; the token is as it was");
  const revoked = isDeployTokenId(id) ? await revokeDeployToken(controlPlane, id) : null;
  if (revoked === null) throw new CliError(`Cannot find token "${id}"`, { tryCommand: "slipway tokens list" });
  toStdout(`${revoked.id} revoked\n`);
  return 0;
}

/** Every client that pushes looks first at what is there. */
function actionsOf({ pull, push, delete: remove }: TokensCreateOptions): DeployTokenView["actions"] {
  const isPull = pull === true || push === true || remove !== true;
  return [
    ...(isPull ? ["pull" as const] : []),
    ...(push === true ? ["push" as const] : []),
    ...(remove === true ? ["delete" as const] : []),
  ];
}

function parseExpiry(text: string): number {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  const ms = days === undefined ? parseDurationMs(text) : Number(days) * dayMs;
  if (ms !== undefined && ms > 0) return ms;
  throw new CliError(`Cannot read --expires "${text}": expected a duration such as "90d" or "12h"`);
}

const scopeOf = ({ org, app }: DeployTokenView): string => (app === undefined ? `${org}/*` : `${org}/${app}`);

function stateOf({ expiresAtMs, revokedAtMs }: DeployTokenView, nowMs: number): string {
  if (revokedAtMs !== undefined) return "revoked";
  if (expiresAtMs === undefined) return "valid";
  return expiresAtMs <= nowMs ? "expired" : `valid for ${ageOf(nowMs, expiresAtMs)}`;
}

function tokenJson({ id, name, org, app, actions, createdAtMs, expiresAtMs, revokedAtMs }: DeployTokenView): Record<string, unknown> {
  const at = (ms: number) => new Date(ms).toISOString();
  return {
    id,
    name,
    org,
    ...(app === undefined ? {} : { app }),
    actions,
    created_at: at(createdAtMs),
    ...(expiresAtMs === undefined ? {} : { expires_at: at(expiresAtMs) }),
    ...(revokedAtMs === undefined ? {} : { revoked_at: at(revokedAtMs) }),
  };
}
