import { readFileSync } from "node:fs";
import path from "node:path";
import { z } from "zod";
import { imageNameRule, imageNameShape } from "./attestations.ts";
import { entitlements } from "./entitlements.ts";
import { isOrgName, orgNameRule } from "./org-name.ts";

const port = z.number().int().min(1).max(65535);
const absolutePath = z.string().refine((text) => path.isAbsolute(text), "expected an absolute path");
const count = z.number().int().positive();
/** Node fires at once what is set later than this (24 days) */
const longestTimerMs = 2 ** 31 - 1;

const runtimeName = z
  .string()
  .regex(/^(\/\S+|[\w-]+(\.[\w-]+)+)$/, 'expected a name such as "io.containerd.runsc.v1", or the path of a shim');

const mirrorLimits = z.strictObject({
  /** bytes that an org's images may take on this host, each content counted once; absent: what the disk has */
  orgBytes: count.optional(),
  /** bytes per second of all pushes of an org together; absent: what the disk takes */
  orgBytesPerSecond: count.optional(),
  /** uploads that an org may have open; 64 */
  orgUploads: count.optional(),
  /** connections that an org may have open, all its machines together; 512 */
  orgConnections: count.optional(),
  /** connections from one address; 128 */
  clientConnections: count.optional(),
  /** pushes stop when containerd's disk has less free than this; 2 GiB or 5 % of the disk, whichever is less; 0: never */
  freeBytes: z.number().int().nonnegative().optional(),
});

/**
 * The settings of one Slipway instance on one host: written by `slipway up`, read by each of its processes (`SLIPWAY_SETTINGS`
 * names the file) and by the CLI. Everything an instance creates on the host carries its id, so that several can stand side by side.
 */
export const settingsSchema = z.strictObject({
  /** 8 hex characters, derived from the data folder; part of every bridge, table, cgroup and namespace name */
  instance: z.string().regex(/^[0-9a-f]{8}$/),
  /** everything that must survive a reboot */
  dataDir: absolutePath,
  /** sockets and pids; short, as a unix socket's path holds 107 bytes */
  runDir: absolutePath,
  hostId: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  defaultOrg: z.string().refine(isOrgName, `expected ${orgNameRule}`),
  tools: z.strictObject({ binDir: absolutePath, shareDir: absolutePath }),
  temporal: z.strictObject({
    address: z.string(),
    namespace: z.string(),
    uiUrl: z.url(),
    /** SQLite file of the embedded server; absent when Temporal is elsewhere */
    databaseFile: absolutePath.optional(),
  }),
  s3: z.strictObject({
    endpoint: z.url(),
    region: z.string(),
    bucket: z.string(),
    accessKeyId: z.string(),
    secretAccessKey: z.string(),
    forcePathStyle: z.boolean(),
    /** folder of the embedded S3 server; absent when the bucket is elsewhere */
    embeddedDir: absolutePath.optional(),
  }),
  registry: z.strictObject({
    /** where the durable registry answers */
    url: z.url(),
    listen: z.strictObject({ host: z.string(), port }),
    /** the host part of every image name; inside an org's network it leads to the mirror */
    imageHost: z.string(),
    /** where Prometheus finds `/metrics`; absent: nowhere */
    metrics: z.strictObject({ host: z.string(), port }).optional(),
    /** tokens: nobody pulls or pushes without one; none, or absent in settings of before: whoever reaches the port may do all */
    auth: z.enum(["tokens", "none"]).optional(),
    /** password of the user "slipway", with which this instance's own processes and its CLI may do all */
    systemToken: z.string().min(32, "expected at least 32 characters").optional(),
    /** HTTPS instead of HTTP; `url` then begins with https. Read anew when the files change */
    tls: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
    /** how blobs are cut into parts for S3; absent: growing parts from 8 MiB on, in 40 MiB of memory */
    uploads: z
      .strictObject({
        /** uniform: all but the last are equal, as Cloudflare R2 wants them; 10,000 of them are then the largest blob */
        partSizes: z.enum(["growing", "uniform"]),
        /** of the first part, S3's least being 5 MiB */
        partBytes: z.number().int().min(5_242_880),
        /** of parts on their way to S3, all uploads together: the more, the larger a single blob may be */
        memoryBytes: z.number().int().min(5_242_880),
      })
      .optional(),
    /** when the collection of garbage comes by, and how long it leaves alone what nothing refers to; absent: hourly, 24 h */
    garbage: z
      .strictObject({
        /** for each of its two steps; pushes rely on it, so it is far longer than any request */
        graceMs: z.number().int().min(600_000),
        everyMs: z.number().int().min(60_000),
      })
      .optional(),
    /** who gets blobs from the bucket itself, by presigned addresses; absent: nobody */
    redirect: z
      .strictObject({
        /** networks of clients that reach the bucket */
        clients: z.array(z.union([z.cidrv4(), z.cidrv6()], "expected a network such as 10.0.0.0/8")).min(1),
        /** where they reach it, when that is elsewhere than `s3.endpoint` */
        endpoint: z.url().optional(),
        /** how long an address is good for */
        expiresS: z.number().int().min(1).max(604_800).optional(),
      })
      .optional(),
  }),
  containerd: z.strictObject({
    socket: absolutePath,
    /** false: an existing containerd, named by the operator, that Slipway neither starts nor stops */
    managed: z.boolean(),
    snapshotter: z.string(),
  }),
  mirror: z.strictObject({
    /** on each org's gateway address */
    port,
    adminSocket: absolutePath,
    /** Docker Hub and friends are asked last; false where they cannot be reached */
    publicFallback: z.boolean(),
    /** tokens: nobody pulls or pushes without a credential; none, or absent in settings of before: whoever is in the org's network may */
    auth: z.enum(["tokens", "none"]).optional(),
    /** how images are brought to `registry.url`; absent: as fast as the link is */
    replication: z
      .strictObject({
        /** all images of this host together */
        bytesPerSecond: z.number().int().min(65_536),
      })
      .optional(),
    /** certificate for HTTPS, read anew when the files change; absent: one of this instance's own CA, `<dataDir>/mirror/tls/ca.pem` */
    tls: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
    /** how hosts of one registry pull from each other (docs/mirror.md, "Peers"); wants `registry.systemToken`; absent: they do not */
    peer: z
      .strictObject({
        /** for the mirrors of other hosts alone: no org's network leads there */
        listen: z.strictObject({ host: z.string(), port }),
        /** where they reach it */
        url: z.url({ protocol: /^https?$/ }).max(300),
        /** HTTPS instead of HTTP; `url` then begins with https */
        tls: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
      })
      .optional(),
    /** what an org may take of this host (docs/mirror.md, "Limits"); what is absent has its default */
    limits: mirrorLimits.optional(),
  }),
  network: z.strictObject({
    /** a /16; each org gets a /24 of it */
    ipv4Pool: z.string(),
    /** a ULA /48; each org gets a /64 of it */
    ipv6Pool: z.string(),
  }),
  router: z.strictObject({ adminSocket: absolutePath, listenHost: z.string(), firstPort: port }),
  /** build and machine logs over HTTP, for `watch` and `logs` */
  logs: z.strictObject({ listen: z.strictObject({ host: z.string(), port }) }),
  machines: z
    .strictObject({
      /** containerd's runtime of app machines (docs/builder.md, "Other runtimes"); absent: io.containerd.runc.v2 */
      runtime: runtimeName.optional(),
    })
    .optional(),
  builder: z.strictObject({
    /** containerd's runtime of builders; absent: io.containerd.runc.v2 */
    runtime: runtimeName.optional(),
    /** how long nobody uses a builder before it falls asleep */
    idleTimeoutMs: count.max(longestTimerMs),
    /** suspend: frozen, its memory is kept, and later stopped; stop: its memory is freed at once; off: it stays awake. Absent: suspend */
    whenIdle: z.enum(["suspend", "stop", "off"]).optional(),
    /** how long a suspended one keeps its memory before it is stopped; absent: a quarter of an hour */
    suspendedForMs: count.max(longestTimerMs).optional(),
    /** above it, BuildKit's garbage collection takes what was not used for longest; absent: 20 GiB */
    cacheBytes: z.number().int().min(100_000_000).optional(),
    memoryMb: z.number().int().positive(),
    cpus: z.number().positive(),
    /** what a new cache is begun with as a file system of its own, so that no build takes more; absent: what the disk has */
    volumeBytes: z.number().int().min(1_000_000_000).optional(),
    /** false: new caches are begun without a user namespace, for Dockerfiles that make device nodes or use ids above 65,535 */
    userNamespace: z.boolean().optional(),
    /** repositories of the frontends that `# syntax=` lines may name; absent: such lines are ignored, and no foreign frontend runs */
    frontends: z
      .array(z.string().regex(imageNameShape, `expected ${imageNameRule}`))
      .min(1)
      .optional(),
    /** what builds may ask for by `slipway deploy --allow`; absent: nothing */
    entitlements: z.array(z.enum(entitlements)).optional(),
    /** image that makes SBOMs where a build names none; absent: BuildKit's own, of Docker Hub */
    sbomGenerator: z.string().regex(imageNameShape, `expected ${imageNameRule}`).optional(),
    /** the way to the builders from elsewhere (docs/builder.md, "Reaching it"); absent: none */
    gate: z
      .strictObject({
        listen: z.strictObject({ host: z.string(), port }),
        /** where the CLI reaches it; absent: where it listens */
        url: z
          .url({ protocol: /^https?$/ })
          .max(300)
          .optional(),
        /** HTTPS instead of HTTP, which only the loopback may do without; read anew when the files change */
        tls: z.strictObject({ certFile: absolutePath, keyFile: absolutePath }).optional(),
      })
      .optional(),
  }),
  /** how images of this host that nobody needs are removed (docs/mirror.md, "Disk"); what is absent has its default */
  prune: z
    .strictObject({
      /** hourly */
      everyMs: z.number().int().min(60_000),
      /** releases of each app whose image stays beside the live one's; 3 */
      keepReleases: z.number().int().min(0),
      /** what changed more recently is left alone; an hour. Pushes rely on it, so it is far longer than any request */
      keepForMs: z.number().int().min(600_000),
      /** how long images fetched from elsewhere stay after their last use, and others after their tag was moved or deleted; a week */
      keepUnusedForMs: z.number().int().min(600_000),
      /** with less free on containerd's disk both times are 10 minutes; a tenth of the disk, at most 10 GiB */
      lowDiskBytes: z.number().int().nonnegative(),
    })
    .partial()
    .optional(),
  /** where traces go, when OTEL_EXPORTER_OTLP_ENDPOINT names no other place: base address of an OTLP/HTTP collector; absent: nowhere */
  tracing: z.strictObject({ otlpEndpoint: z.url() }).optional(),
  /** PEM file that builders, base images and the clients of `registry.url` trust beside their own: a re-signing proxy, a CA of one's own */
  caBundle: absolutePath.optional(),
});

export type Settings = z.infer<typeof settingsSchema>;

export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** @throws SettingsError naming the file and every wrong key at once. */
export function loadSettings(file: string): Settings {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new SettingsError(`Cannot read settings "${file}": ${(cause as Error).message}`, { cause });
  }
  const result = settingsSchema.safeParse(json);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => `  ${issue.path.join(".") || "(file)"}: ${issue.message}`);
  throw new SettingsError(`Settings "${file}" are wrong:\n${issues.join("\n")}`);
}

/** The settings file of this process, as its starter named it. */
export function settingsFromEnvironment(): Settings {
  const file = process.env.SLIPWAY_SETTINGS;
  if (file === undefined)
    throw new SettingsError("Cannot find the settings: SLIPWAY_SETTINGS is not set; `slipway up` starts processes with it");
  return loadSettings(file);
}
