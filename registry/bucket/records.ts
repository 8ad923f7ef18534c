import type { z } from "zod";
import { DistributionError } from "../../oci/errors.ts";
import type { StoredObject } from "./bucket.ts";

/** The object is not what we write there. */
export class DamagedRecordError extends DistributionError {
  constructor(cause: unknown) {
    super("UNAVAILABLE", { reason: "a record in the bucket is damaged" }, { cause });
  }
}

/** The small JSON objects of the bucket. */
export function formatRecord(record: object): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

/** @throws DamagedRecordError */
export function parseRecord<S extends z.ZodType>(schema: S, object: StoredObject | undefined): z.infer<S> | undefined {
  if (object === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(Buffer.from(object.bytes).toString("utf8")));
  } catch (cause) {
    throw new DamagedRecordError(cause);
  }
}
