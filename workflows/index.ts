export { app } from "./app.ts";
export { createDeployToken, listDeployTokens, revokeDeployToken } from "./deploy-tokens.ts";
export { deploy } from "./deploy.ts";
export { replicateImage } from "./replicate-image.ts";
