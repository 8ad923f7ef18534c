import type { Settings } from "../../config/settings.ts";
import { StackError } from "../stack-error.ts";
import { openTemporal, type OpenTemporal } from "./connect.ts";
import { ensureSearchAttributes } from "./search-attributes.ts";

const answerTimeoutMs = 15_000;
/** gRPC's status NOT_FOUND */
const notFound = 5;

/**
 * Makes sure that a Temporal which the settings name can carry this instance, before anything is started.
 * @throws StackError saying which server, what was found, what was expected and what to do
 */
export async function requireUsableTemporal(settings: Settings, progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]);
  await using temporal = await openTemporal(settings).catch((cause: unknown) => {
    throw new StackError(
      `Cannot use Temporal at "${settings.temporal.address}": it does not answer. Start it, or name another in temporal.address of the settings`,
      { cause },
    );
  });
  await requireNamespace(temporal, limit);
  const created = await ensureSearchAttributes(temporal, limit);
  if (created.length > 0) progress(`created search attributes in Temporal's namespace "${temporal.namespace}": ${created.join(", ")}`);
}

async function requireNamespace({ connection, address, namespace }: OpenTemporal, signal: AbortSignal): Promise<void> {
  try {
    await connection.withAbortSignal(signal, async () => await connection.workflowService.describeNamespace({ namespace }));
  } catch (cause) {
    if ((cause as { code?: number }).code !== notFound) throw cause;
    throw new StackError(
      `Cannot find namespace "${namespace}" in Temporal at "${address}"; run: ` +
        `temporal operator namespace create --address ${address} --namespace ${namespace}`,
      { cause },
    );
  }
}
