export { app } from "./app.ts";
export { collectGarbage } from "./collect-garbage.ts";
export { deploy } from "./deploy.ts";
export { createDeployToken, listDeployTokens, revokeDeployToken } from "./deploy-tokens.ts";
export { pruneHost } from "./prune-host.ts";
export { replicateImage } from "./replicate-image.ts";
export { scrubRegistry } from "./scrub-registry.ts";
