import { setTimeout as sleep } from "node:timers/promises";
import { searchAttributeNames } from "../../workflows/ids.ts";
import { StackError } from "../stack-error.ts";
import type { OpenTemporal } from "./connect.ts";

/** `temporal.api.enums.v1.IndexedValueType` */
const types = ["Unspecified", "Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList"] as const;
const keyword = types.indexOf("Keyword");

const shownPollMs = 100;
const shownTimeoutMs = 10_000;

export type SearchAttributePlan = {
  readonly missing: readonly string[];
  readonly mistyped: readonly { readonly name: string; readonly found: string }[];
};

/** What is to be done about the search attributes of a namespace, given those that it has. */
export function planSearchAttributes(found: Readonly<Record<string, number>>): SearchAttributePlan {
  const names = Object.values(searchAttributeNames);
  return {
    missing: names.filter((name) => found[name] === undefined),
    mistyped: names.flatMap((name) => {
      const type = found[name];
      return type === undefined || type === keyword ? [] : [{ name, found: types[type] ?? `${type}` }];
    }),
  };
}

type Place = Pick<OpenTemporal, "address" | "namespace">;

/** The operator's command line, for a Temporal that lets us create nothing. */
export function createCommand(place: Place, names: readonly string[]): string {
  return operatorCommand(
    "create",
    place,
    names.map((name) => `--name ${name} --type Keyword`),
  );
}

const operatorCommand = (verb: string, { address, namespace }: Place, rest: readonly string[]): string =>
  `temporal operator search-attribute ${verb} --address ${address} --namespace ${namespace} ${rest.join(" ")}`;

/** The namespace cannot carry runs as it is; `command` mends it. */
export class SearchAttributesError extends StackError {
  readonly command: string;

  constructor(what: string, command: string, options?: ErrorOptions) {
    super(`${what}; run: ${command}`, options);
    this.command = command;
  }
}

/** @throws SearchAttributesError naming those that are missing or of another type, and the command that mends it */
export async function requireSearchAttributes(temporal: OpenTemporal, signal: AbortSignal): Promise<string> {
  const plan = planSearchAttributes(await listSearchAttributes(temporal, signal));
  refuseMistyped(plan, temporal);
  if (plan.missing.length > 0)
    throw new SearchAttributesError(
      `Cannot find the search attributes ${plan.missing.join(", ")} in namespace "${temporal.namespace}"`,
      createCommand(temporal, plan.missing),
    );
  return `${Object.values(searchAttributeNames).join(", ")} in namespace "${temporal.namespace}"`;
}

/**
 * Creates those that the namespace lacks, and waits until it shows them.
 * @returns the names of those that were created
 * @throws SearchAttributesError when Temporal does not let us
 */
export async function ensureSearchAttributes(temporal: OpenTemporal, signal: AbortSignal): Promise<readonly string[]> {
  const plan = planSearchAttributes(await listSearchAttributes(temporal, signal));
  refuseMistyped(plan, temporal);
  if (plan.missing.length === 0) return [];
  await create(temporal, plan.missing, signal);
  await untilShown(temporal, signal);
  return plan.missing;
}

function refuseMistyped({ mistyped }: SearchAttributePlan, temporal: OpenTemporal): void {
  if (mistyped.length === 0) return;
  const found = mistyped.map((attribute) => `${attribute.name} of type ${attribute.found}`).join(", ");
  throw new SearchAttributesError(
    `Cannot use namespace "${temporal.namespace}" of Temporal at "${temporal.address}": found ${found}, expected Keyword`,
    operatorCommand(
      "remove",
      temporal,
      mistyped.map(({ name }) => `--name ${name}`),
    ),
  );
}

async function listSearchAttributes({ connection, namespace }: OpenTemporal, signal: AbortSignal): Promise<Record<string, number>> {
  const { customAttributes } = await connection.withAbortSignal(
    signal,
    async () => await connection.operatorService.listSearchAttributes({ namespace }),
  );
  return customAttributes ?? {};
}

async function create(temporal: OpenTemporal, names: readonly string[], signal: AbortSignal): Promise<void> {
  const { connection, namespace } = temporal;
  const searchAttributes = Object.fromEntries(names.map((name) => [name, keyword]));
  try {
    await connection.withAbortSignal(
      signal,
      async () => await connection.operatorService.addSearchAttributes({ namespace, searchAttributes }),
    );
  } catch (cause) {
    signal.throwIfAborted();
    throw new SearchAttributesError(
      `Cannot create the search attributes ${names.join(", ")} in namespace "${namespace}" of Temporal at "${temporal.address}": ` +
        `${(cause as Error).message}. Create them with a user that may`,
      createCommand(temporal, names),
      { cause },
    );
  }
}

/** The server keeps namespaces in a cache. */
async function untilShown(temporal: OpenTemporal, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(shownTimeoutMs)]);
  while (planSearchAttributes(await listSearchAttributes(temporal, limit)).missing.length > 0)
    await sleep(shownPollMs, undefined, { signal: limit });
}
