import { randomBytes, randomUUID } from "node:crypto";
import { ClientError, Metadata, Status } from "nice-grpc";
import { type Digest, digestOf } from "../oci/digest.ts";
import { WriteAction } from "../proto/gen/services/content/v1/content_pb.ts";
import { type Containerd, type ContainerdNamespace, ensureNamespace, isNotFound } from "./client.ts";
import { statBlob, writeBlob } from "./content.ts";
import { createLease, deleteLease } from "./leases.ts";

export class SharedContentError extends Error {
  override readonly name = "SharedContentError";
  constructor(socket: string) {
    super(
      `Cannot use containerd at "${socket}": found content_sharing_policy "shared", expected "isolated". Every org could read every ` +
        `other's images. Set [plugins."io.containerd.metadata.v1.bolt"] content_sharing_policy = "isolated" and start containerd again`,
    );
  }
}

/**
 * Proves that one namespace cannot claim another's content by its digest alone: by trying to, in two scratch namespaces.
 * @throws SharedContentError when it can; the namespaces are gone again either way.
 */
export async function requireIsolatedContent(containerd: Containerd, signal: AbortSignal): Promise<void> {
  const probe = `slipway-probe-${randomUUID()}`;
  const bytes = randomBytes(1024);
  const descriptor = { digest: digestOf(bytes), size: bytes.length };
  await using owner = await openScratchNamespace(containerd, `${probe}-owner`, descriptor.digest, signal);
  await using other = await openScratchNamespace(containerd, `${probe}-other`, descriptor.digest, signal);
  await writeBlob(owner.ns, bytes, descriptor, {}, signal);
  await claimWithoutBytes(other.ns, descriptor, probe, signal);
  if ((await statBlob(other.ns, descriptor.digest, signal)) !== undefined) throw new SharedContentError(containerd.socket);
}

/** Whether the claim worked is seen by what is there afterwards, so its refusal is no error. */
async function claimWithoutBytes(
  ns: ContainerdNamespace,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  ref: string,
  signal: AbortSignal,
): Promise<void> {
  const claim = { ref, expected: digest, total: BigInt(size) };
  try {
    const messages = [
      { ...claim, action: WriteAction.STAT },
      { ...claim, action: WriteAction.COMMIT, offset: BigInt(size) },
    ];
    for await (const _answer of ns.content.write(iterate(messages), { signal }));
  } catch (error) {
    const refused = error instanceof ClientError && error.code !== Status.UNAVAILABLE && error.code !== Status.UNIMPLEMENTED;
    if (!refused) throw error;
  }
  await ns.content.abort({ ref }, { signal }).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
}

async function* iterate<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

/** A namespace with one lease that holds one blob; all three go when the scope ends. */
async function openScratchNamespace(
  containerd: Containerd,
  name: string,
  digest: Digest,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly ns: ContainerdNamespace }> {
  await ensureNamespace(containerd, name, signal);
  const ns = containerd.namespace(name, "probe");
  await createLease(ns, { id: "probe", expiresAtMs: Date.now() + 60_000 }, signal);
  return {
    ns,
    async [Symbol.asyncDispose]() {
      const cleanup = AbortSignal.timeout(10_000);
      await ns.content.delete({ digest }, { signal: cleanup }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      await deleteLease(ns, "probe", cleanup, true);
      await containerd.namespaces.delete({ name }, { signal: cleanup, metadata: Metadata({ "containerd-namespace": name }) });
    },
  };
}
