import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

/** `1.1`: the released specification; `dev`: its main branch. */
export const suiteVersions = ["1.1", "dev"] as const;
export type SuiteVersion = (typeof suiteVersions)[number];

export type SuiteTarget = {
  /** the pinned suite's binary is in it */
  readonly toolsBinDir: string;
  readonly url: string;
  readonly credentials?: { readonly username: string; readonly password: string };
};

export type SuiteTest = { readonly name: string; readonly output: string };

export type SuiteReport = {
  readonly version: SuiteVersion;
  readonly passed: number;
  readonly skipped: readonly SuiteTest[];
  readonly failed: readonly SuiteTest[];
  /** what the configuration switched off, by name of API or kind of data */
  readonly disabled: readonly string[];
  /** what the suite says of each API and each kind of data */
  readonly verdicts: Readonly<Record<string, string>>;
};

const apis = [
  "PING",
  "PULL",
  "PUSH",
  "BLOBS_ATOMIC",
  "BLOBS_DELETE",
  "BLOBS_DIGEST_HEADER",
  "BLOBS_MOUNT_ANONYMOUS",
  "BLOBS_UPLOAD_CANCEL",
  "MANIFESTS_ATOMIC",
  "MANIFESTS_DELETE",
  "MANIFESTS_DIGEST_HEADER",
  "MANIFESTS_TAG_PARAM",
  "TAGS_ATOMIC",
  "TAGS_DELETE",
  "TAGS_LIST",
  "REFERRER",
];

const data = [
  "IMAGE",
  "INDEX",
  "INDEX_LIST",
  "ARTIFACT",
  "SUBJECT",
  "SUBJECT_MISSING",
  "ARTIFACT_LIST",
  "SUBJECT_LIST",
  "DATA_FIELD",
  "NONDISTRIBUTABLE",
  "CUSTOM_FIELDS",
  "NO_LAYERS",
  "EMPTY_BLOB",
  "SHA512",
];

/**
 * Everything that the suite can ask for, at either version. Only manifests whose blobs were never pushed (`OCI_DATA_SPARSE`) are left
 * out: the specification lets a registry refuse them, this one always does, and the suite has no word for that.
 */
const everything = Object.fromEntries([
  ...apis.map((name) => [`OCI_API_${name}`, "true"]),
  ...data.map((name) => [`OCI_DATA_${name}`, "true"]),
  ["OCI_DATA_SPARSE", "false"],
]);

const timeoutMs = 180_000;

/**
 * Runs the conformance suite of distribution-spec against a registry.
 * @throws Error when it leaves no results: it ends with 0 when its own set-up fails.
 */
export async function runOciSuite(version: SuiteVersion, { toolsBinDir, url, credentials }: SuiteTarget): Promise<SuiteReport> {
  const dir = await mkdtemp(path.join(tmpdir(), "oci-suite-"));
  try {
    const { host, protocol } = new URL(url);
    const env = {
      ...everything,
      OCI_VERSION: version,
      OCI_REGISTRY: host,
      OCI_TLS: protocol === "https:" ? "enabled" : "disabled",
      OCI_REPO1: `conformance/${version.replace(".", "-")}/one`,
      OCI_REPO2: `conformance/${version.replace(".", "-")}/two`,
      OCI_USERNAME: credentials?.username ?? "",
      OCI_PASSWORD: credentials?.password ?? "",
      OCI_CONFIGURATION: "/dev/null",
      OCI_CACHE_AUTH: "false",
      OCI_LOG: "error",
      OCI_RESULTS_DIR: dir,
    };
    const child = spawn(path.join(toolsBinDir, "conformance"), { cwd: dir, env, stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs });
    const said = Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
    const [exitCode] = (await once(child, "close")) as [number | null];
    const text = (await said).map((chunks) => Buffer.concat(chunks as Buffer[]).toString()).join("\n");
    const [junit, results] = ["junit.xml", "results.yaml"].map((name) => path.join(dir, name)) as [string, string];
    if (!existsSync(junit) || !existsSync(results)) throw new Error(`The suite left no results (exit code ${exitCode}):\n${text}`);
    const report = parseReport(version, await readFile(junit, "utf8"), text);
    if ((exitCode === 0) !== (report.failed.length === 0)) {
      throw new Error(`The suite ended with ${exitCode}, but its report has ${report.failed.length} failures:\n${text}`);
    }
    return report;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** @param junit as the suite's `encoding/xml` writes it; @param text what it printed. */
export function parseReport(version: SuiteVersion, junit: string, text: string): SuiteReport {
  const tests = [...junit.matchAll(/<testcase name="([^"]*)"[^>]* status="(\w+)">(.*?)<\/testcase>/gs)].map((match) => {
    const output = /<system-out>(.*?)<\/system-out>/s.exec(match[3]!)?.[1] ?? /<system-err>(.*?)<\/system-err>/s.exec(match[3]!)?.[1] ?? "";
    return { name: unescapeXml(match[1]!), status: match[2]!, output: unescapeXml(output).trim() };
  });
  if (tests.length === 0) throw new Error(`The suite's report holds no tests:\n${text}`);
  const verdicts = Object.fromEntries(
    [...text.matchAll(/^ {2}(\S[^:\n]*?)\.+: +(Pass|Skip|FAIL|Error|Disabled|Unknown)$/gm)].map((match) => [match[1]!, match[2]!]),
  );
  const withStatus = (...statuses: string[]) =>
    tests.filter(({ status }) => statuses.includes(status)).map(({ name, output }) => ({ name, output }));
  const disabled = Object.keys(verdicts).filter((name) => verdicts[name] === "Disabled");
  return {
    version,
    passed: withStatus("passed").length,
    skipped: withStatus("skipped"),
    failed: tests.filter(({ status }) => status !== "passed" && status !== "skipped").map(({ name, output }) => ({ name, output })),
    disabled,
    verdicts,
  };
}

function unescapeXml(text: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"' };
  return text.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|(lt|gt|amp|quot));/g, (_whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return entities[name]!;
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal));
  });
}
