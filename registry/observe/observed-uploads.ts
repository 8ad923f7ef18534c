import type { UploadStore } from "../../oci/store.ts";
import type { RegistryMetrics } from "./metrics.ts";

/** The same upload sessions, counted. */
export function observeUploads(uploads: UploadStore, metrics: Pick<RegistryMetrics, "upload" | "uploadBody">): UploadStore {
  return {
    ...uploads,
    start: async (...args) => {
      const status = await uploads.start(...args);
      metrics.upload("started");
      return status;
    },
    append: async (...args) => {
      metrics.uploadBody(1);
      try {
        return await uploads.append(...args);
      } finally {
        metrics.uploadBody(-1);
      }
    },
    finish: async (...args) => {
      try {
        const descriptor = await uploads.finish(...args);
        metrics.upload("finished");
        return descriptor;
      } catch (error) {
        metrics.upload("failed");
        throw error;
      }
    },
    abort: async (...args) => {
      await uploads.abort(...args);
      metrics.upload("aborted");
    },
  };
}
