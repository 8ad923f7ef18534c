import { type Digest, digestOf } from "../oci/digest.ts";

/** The chain id after each layer (OCI image-spec, config.md#layer-chainid): what a snapshot of the layers so far is named. */
export function chainIds(diffIds: readonly Digest[]): readonly Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(parent === undefined ? diffId : digestOf(`${parent} ${diffId}`));
  }
  return chain;
}
