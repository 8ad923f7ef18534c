import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export type GitServer = AsyncDisposable & {
  /** `http://127.0.0.1:…`: git's own server behind it, which gives single commits away */
  readonly url: string;
  /** the same repositories as plain files, as any web server has them */
  readonly plainUrl: string;
  /** Commits these files as the whole content of `<name>.git`, on a branch. Answers the commit. */
  commit(name: string, files: Readonly<Record<string, string>>, branch?: string): Promise<string>;
  git(name: string, ...args: string[]): Promise<string>;
};

export type GitServerOptions = {
  /** `user:password` that every request must bring */
  readonly login?: string;
};

/** Serves git repositories over HTTP on loopback. */
export async function openGitServer({ login }: GitServerOptions = {}): Promise<GitServer> {
  const root = await mkdtemp(path.join(tmpdir(), "slipway-git-server-"));
  const wanted = login === undefined ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
  const server = createServer((request, response) => {
    if (wanted !== undefined && request.headers.authorization !== wanted)
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
    else if (request.url!.startsWith("/plain/"))
      void servePlain(path.join(root, request.url!.slice("/plain".length).split("?")[0]!), response);
    else serveByGit(root, request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", ...identity };
  const git = async (name: string, ...args: string[]) =>
    (await run("git", ["-C", path.join(root, `${name}.git`), ...args], { env })).stdout.trim();
  return {
    url,
    plainUrl: `${url}/plain`,
    git,
    async commit(name, files, branch = "main") {
      await run("git", ["init", "--quiet", "--bare", "--initial-branch=main", path.join(root, `${name}.git`)], { env });
      const tree = await mkdtemp(path.join(root, "tree-"));
      for (const [file, text] of Object.entries(files)) {
        await mkdir(path.dirname(path.join(tree, file)), { recursive: true });
        await writeFile(path.join(tree, file), text);
      }
      const before = await git(name, "rev-parse", "--verify", "--quiet", branch).catch(() => undefined);
      await rm(path.join(root, `${name}.git`, "index"), { force: true });
      await git(name, "--work-tree", tree, "add", "--all", ".");
      const commit = await git(
        name,
        "commit-tree",
        await git(name, "write-tree"),
        "-m",
        "test",
        ...(before === undefined ? [] : ["-p", before]),
      );
      await git(name, "update-ref", `refs/heads/${branch}`, commit);
      await git(name, "update-server-info");
      return commit;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(root, { recursive: true, force: true });
    },
  };
}

const identity = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@b" };

async function servePlain(file: string, response: ServerResponse): Promise<void> {
  const bytes = await readFile(file).catch(() => undefined);
  if (bytes === undefined) response.writeHead(404).end();
  else response.end(bytes);
}

/** git's own CGI program. */
function serveByGit(root: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url!, "http://x");
  const cgi = spawn("git", ["http-backend"], {
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method!,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  request.pipe(cgi.stdin);
  const parts: Buffer[] = [];
  cgi.stdout.on("data", (part: Buffer) => parts.push(part));
  cgi.stdout.on("end", () => {
    const answer = Buffer.concat(parts);
    const at = answer.indexOf("\r\n\r\n");
    const headers = answer
      .subarray(0, at)
      .toString()
      .split("\r\n")
      .map((line) => line.split(": ", 2) as [string, string]);
    const status = headers.find(([name]) => name === "Status")?.[1];
    response.writeHead(status === undefined ? 200 : Number.parseInt(status, 10), Object.fromEntries(headers)).end(answer.subarray(at + 4));
  });
}
