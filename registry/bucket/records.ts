import type { z } from "zod";
import { DistributionError } from "../../oci/errors.ts";
import type { StoredObject } from "./bucket.ts";

/** The small JSON objects of the bucket. */
export function formatRecord(record: object): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

/** @throws DistributionError UNAVAILABLE when the object is not what we write there. */
export function parseRecord<S extends z.ZodType>(schema: S, object: StoredObject | undefined): z.infer<S> | undefined {
  if (object === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(Buffer.from(object.bytes).toString("utf8")));
  } catch (cause) {
    throw new DistributionError("UNAVAILABLE", { reason: "a record in the bucket is damaged" }, { cause });
  }
}
