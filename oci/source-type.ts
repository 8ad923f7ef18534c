/** The artifact type of a list of packs that together are the source of a build. */
export const sourceArtifactType = "application/vnd.slipway.source.v1+json";

/** Of one source. They are no layers that a runtime stacks, so what bounds them is what looking for each costs. */
export const mostSourcePacks = 8192;
