import { z } from "zod";
import { type Digest, isDigest } from "./digest.ts";

/** A digest inside of JSON. */
export const digestSchema = z.custom<Digest>(
  (value) => typeof value === "string" && isDigest(value),
  "expected sha256:<64 hex> or sha512:<128 hex>",
);
