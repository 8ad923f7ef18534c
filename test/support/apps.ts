import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const examples = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../examples");

export type SourceDir = AsyncDisposable & { readonly dir: string; write(file: string, text: string): Promise<void> };

/** A source directory of a test's own, to change as it likes. */
export async function sourceDir(files: Readonly<Record<string, string>>): Promise<SourceDir> {
  const source = await emptyDir();
  for (const [file, text] of Object.entries(files)) await source.write(file, text);
  return source;
}

/** A copy of one of the examples. */
export async function exampleDir(name: string): Promise<SourceDir> {
  const source = await emptyDir();
  await cp(path.join(examples, name), source.dir, { recursive: true });
  return source;
}

/** The smallest app that answers over HTTP; `body` is what it answers. */
export function tinyApp(app: string, body: string, extra: Readonly<Record<string, string>> = {}): Promise<SourceDir> {
  return sourceDir({
    Dockerfile: [
      "FROM busybox AS tools",
      "FROM scratch",
      "COPY --from=tools /bin/busybox /bin/busybox",
      "COPY index.html /www/index.html",
      'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-v", "-p", "8080", "-h", "/www"]',
      "",
    ].join("\n"),
    "index.html": body,
    "slipway.toml": tinyConfig(app),
    ...extra,
  });
}

export function tinyConfig(app: string, checkPath = "/index.html", waitTimeout = "20s"): string {
  return [
    `app = "${app}"`,
    'kill_timeout = "1s"',
    "[deploy]",
    `wait_timeout = "${waitTimeout}"`,
    "[http_service]",
    "internal_port = 8080",
    "[[http_service.checks]]",
    `path = "${checkPath}"`,
    'interval = "200ms"',
    'timeout = "2s"',
    'grace_period = "1s"',
    "",
  ].join("\n");
}

async function emptyDir(): Promise<SourceDir> {
  const dir = await mkdtemp(path.join(tmpdir(), "slipway-source-"));
  return {
    dir,
    write: async (file, text) => {
      await mkdir(path.dirname(path.join(dir, file)), { recursive: true });
      await writeFile(path.join(dir, file), text);
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
