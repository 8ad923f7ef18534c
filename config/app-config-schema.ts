import { z } from "zod";
import { imageNameRule, imageNameShape, provenanceModes } from "./attestations.ts";
import { parseDurationMs } from "./duration.ts";
import { parseMemoryMb } from "./memory-size.ts";
import { platformRule, platformShape } from "./platform.ts";
import { splitShellWords } from "./shell-words.ts";

/** A scalar that is parsed into another; the message says what was expected. */
const parsed = <T>(expected: string, parse: (value: string | number) => T | undefined) =>
  z.unknown().transform((value, context) => {
    const result = typeof value === "string" || typeof value === "number" ? parse(value) : undefined;
    if (result !== undefined) return result;
    context.addIssue({ code: "custom", message: `expected ${expected}` });
    return z.NEVER;
  });

const duration = parsed('a duration such as "5s" or "1m30s"', parseDurationMs);
const memory = parsed('a memory size such as "512mb" or "1gb"', parseMemoryMb);
const text = z.string("expected text");
const scalarAsText = z
  .union([z.string(), z.number(), z.boolean()], "expected text, a number or a boolean")
  .transform((value) => String(value));
const port = z
  .int("expected a port from 1 to 65535")
  .min(1, "expected a port from 1 to 65535")
  .max(65535, "expected a port from 1 to 65535");
const strategies = ["rolling", "bluegreen", "immediate"] as const;

const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, "expected a name of letters, digits and _");
const command = z.union([z.string(), z.array(z.string())], "expected a command line or a list of words").transform((value, context) => {
  try {
    return typeof value === "string" ? splitShellWords(value) : value;
  } catch (error) {
    context.addIssue({ code: "custom", message: `expected a command line: ${(error as Error).message}` });
    return z.NEVER;
  }
});

const insideSource = (value: string): boolean => value !== "" && !value.startsWith("/") && !value.split("/").includes("..");
const sourcePath = text.refine(insideSource, "expected a relative path inside the source directory");
const onlyAppGroup = z.array(z.literal("app", 'expected ["app"], the only process group yet'), 'expected ["app"]');

const check = z.object({
  interval: duration.optional(),
  timeout: duration.optional(),
  grace_period: duration.optional(),
  method: z
    .string("expected an HTTP method")
    .transform((method) => method.toUpperCase())
    .pipe(z.enum(["GET", "HEAD", "OPTIONS", "POST", "PUT"], "expected one of GET, HEAD, OPTIONS, POST, PUT"))
    .optional(),
  path: text.regex(/^\/[\x21-\x7e]*$/, 'expected a path that starts with "/"').optional(),
});

const vm = z.object(
  {
    memory: memory.optional(),
    memory_mb: memory.optional(),
    cpus: z
      .number("expected a number of CPUs")
      .positive("expected a number of CPUs above 0")
      .max(256, "expected at most 256 CPUs")
      .optional(),
    processes: onlyAppGroup.optional(),
  },
  "expected a table",
);

export const appNameShape = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
export const appNameRule = "at most 40 of lower-case letters, digits and -, with a letter or digit at both ends";

/** The keys of slipway.toml that are read. Keys that are not are judged before (`app-config-keys.ts`). */
export const appConfigSchema = z.object({
  app: z.string(`expected the app's name: ${appNameRule}`).regex(appNameShape, `expected ${appNameRule}`),
  kill_signal: text.regex(/^SIG[A-Z0-9+-]+$/, 'expected a signal such as "SIGINT"').optional(),
  kill_timeout: duration.optional(),
  build: z
    .object(
      {
        dockerfile: sourcePath.optional(),
        "build-target": text.optional(),
        args: z.record(variableName, scalarAsText, "expected a table").optional(),
        ignorefile: text.optional(),
        contexts: z.record(z.string(), text, "expected a table").optional(),
        provenance: z.union([z.boolean(), z.enum(provenanceModes)], 'expected true, false, "min" or "max"').optional(),
        sbom: z.union([z.boolean(), z.string().regex(imageNameShape)], `expected true, false or ${imageNameRule}`).optional(),
        platform: text.regex(platformShape, `expected ${platformRule}`).optional(),
      },
      "expected a table",
    )
    .optional(),
  deploy: z
    .object(
      {
        strategy: z.enum(strategies, `expected one of ${strategies.join(", ")}`).optional(),
        wait_timeout: duration.optional(),
      },
      "expected a table",
    )
    .optional(),
  env: z.record(variableName, scalarAsText, "expected a table").optional(),
  processes: z.object({ app: command.optional() }, "expected a table").optional(),
  http_service: z
    .object(
      {
        internal_port: port.optional(),
        processes: onlyAppGroup.optional(),
        checks: z.array(check, "expected a list of tables").optional(),
      },
      "expected a table",
    )
    .optional(),
  /** fly.toml allows one table as well as a list of them */
  vm: z.preprocess(
    (value) => (value === undefined || Array.isArray(value) ? value : [value]),
    z.array(vm).max(1, "expected one table, as there is one process group").optional(),
  ),
});

export type AppConfigToml = z.output<typeof appConfigSchema>;
