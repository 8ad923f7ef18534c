export { app } from "./app.ts";
export { deploy } from "./deploy.ts";
export { replicateImage } from "./replicate-image.ts";
