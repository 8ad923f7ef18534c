/**
 * `npm run conformance -- registry`: the conformance suite of distribution-spec against a registry of this checkout over an S3 server,
 * both started for it, at the released version and at the specification's main branch. Ends with 1 on any failure.
 * `npm run conformance -- mirror`: the same against a mirror over a containerd, with such a registry behind it.
 * `npm run conformance -- URL` runs it against any other registry; OCI_USERNAME and OCI_PASSWORD are passed on.
 */
import { installTools } from "../../tools/install.ts";
import { type SuiteReport, type SuiteTarget, runOciSuite, suiteVersions } from "./oci-suite.ts";
import { openMirrorUnderTest } from "./mirror-under-test.ts";
import { type RegistryUnderTest, openRegistryUnderTest } from "./registry-under-test.ts";
import { renderReports } from "./render-report.ts";

const [target = ""] = process.argv.slice(2);
const ours: Readonly<Record<string, (toolsBinDir: string) => Promise<RegistryUnderTest>>> = {
  registry: openRegistryUnderTest,
  mirror: openMirrorUnderTest,
};
const open = ours[target];
if (open === undefined && !URL.canParse(target)) {
  console.error(`Cannot test "${target}": expected "registry", "mirror" or the URL of a registry`);
  process.exit(2);
}

const { binDir: toolsBinDir } = await installTools({
  groups: ["test"],
  progress: (line) => console.error(line),
  signal: AbortSignal.timeout(20 * 60_000),
});
const reports = open !== undefined ? await testOurs(open) : await runAll({ toolsBinDir, url: target, ...credentialsOfCaller() });
console.log(renderReports(reports));
process.exitCode = reports.every(({ failed, passed }) => failed.length === 0 && passed > 0) ? 0 : 1;

async function testOurs(start: (binDir: string) => Promise<RegistryUnderTest>): Promise<SuiteReport[]> {
  await using registry = await start(toolsBinDir);
  return await runAll({ toolsBinDir, ...registry });
}

async function runAll(suite: SuiteTarget): Promise<SuiteReport[]> {
  const finished: SuiteReport[] = [];
  for (const version of suiteVersions) finished.push(await runOciSuite(version, suite));
  return finished;
}

function credentialsOfCaller(): Pick<SuiteTarget, "credentials"> {
  const { OCI_USERNAME: username, OCI_PASSWORD: password } = process.env;
  return username === undefined || password === undefined ? {} : { credentials: { username, password } };
}
