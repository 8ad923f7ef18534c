import { setImmediate as breathe } from "node:timers/promises";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { type SourcePack, formatSourceManifest } from "../../oci/source-manifest.ts";
import { type PackPlan, cutPacks } from "./cut-packs.ts";
import type { SourceEntry } from "./list-source.ts";
import { changed, makePack } from "./make-pack.ts";
import type { SourceIndex } from "./source-index.ts";

/** A source as it travels: the list of its packs, and the packs, which are made when they have to be sent. */
export type PackedSource = {
  /** of the list, and with it of every byte */
  readonly digest: Digest;
  readonly manifest: Buffer;
  readonly packs: readonly SourcePack[];
  /** of the tar: of all packs together */
  readonly sizeBytes: number;
  readonly fileCount: number;
  /** @throws SourceError when the source has changed since it was packed */
  bytesOf(pack: SourcePack): Buffer;
};

/**
 * Learns the digest of each pack, from the index where no file of it has changed, else by making it; and keeps the index.
 * @throws SourceError when a file changes while it is read.
 */
export async function packSource(
  directory: string,
  entries: readonly SourceEntry[],
  index: SourceIndex,
  signal: AbortSignal,
): Promise<PackedSource> {
  const made: { readonly plan: PackPlan; readonly pack: SourcePack }[] = [];
  for (const plan of cutPacks(entries)) made.push({ plan, pack: index.find(plan) ?? (await learn(directory, plan, signal)) });
  await index.keep(made);
  const packs = made.map(({ pack }) => pack);
  const manifest = formatSourceManifest(packs);
  const plans = new Map(made.map(({ plan, pack }) => [pack.digest, plan]));
  return {
    digest: digestOf(manifest),
    manifest,
    packs,
    sizeBytes: packs.reduce((sum, { size }) => sum + size, 0),
    fileCount: entries.filter(({ kind }) => kind === "file").length,
    bytesOf({ digest }) {
      const plan = plans.get(digest)!;
      const bytes = makePack(directory, plan);
      if (digestOf(bytes) !== digest) throw changed(whatIsIn(plan));
      return bytes;
    },
  };
}

async function learn(directory: string, plan: PackPlan, signal: AbortSignal): Promise<SourcePack> {
  // the calls beneath are synchronous: others get their turn between packs
  await breathe();
  signal.throwIfAborted();
  const bytes = makePack(directory, plan);
  return { digest: digestOf(bytes), size: bytes.length };
}

function whatIsIn({ part }: PackPlan): string {
  if (part.kind === "part") return part.entry.path;
  const files = part.entries.filter(({ kind }) => kind === "file");
  return files.length > 1 ? `${files[0]!.path}" … "${files.at(-1)!.path}` : ((files[0] ?? part.entries[0])?.path ?? ".");
}
