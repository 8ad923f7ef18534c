import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { type AttackTarget, openAttackTarget } from "./attack-target.ts";

const bytes = Buffer.from("the bytes");
const digest = digestOf(bytes);

/** What stands where a repository's name belongs, byte by byte as it is sent. */
const names: readonly string[] = [
  "..",
  "../victim/app",
  "victim/../victim/app",
  "./victim/app",
  "%2e%2e/victim/app",
  "%2E%2E%2Fvictim%2Fapp",
  "victim%2fapp",
  "victim%252fapp",
  "victim//app",
  "/victim/app",
  "victim/app/",
  "victim\\app",
  "victim/app%00",
  "victim/app%0d%0aset-cookie:x",
  "Victim/app",
  "victim/äpp",
  "victim/a%C3%A4pp",
  "victim/%F0%9F%92%A3",
  "victim/ａｐｐ",
  "victim:app",
  "victim/app;x=1",
  "victim/app/_uploads",
  "-victim/app",
  "victim/app-",
  "victim/a..b",
  "victim/a___b",
  "a".repeat(256),
  `${"a/".repeat(200)}a`,
  "%",
  "%zz",
  "probes/../releases",
  "*",
  "victim/app@sha256:0",
];

describe("the registry takes no name for another", () => {
  let target: AttackTarget;

  beforeAll(async () => {
    target = await openAttackTarget();
    await target.pushBlob("victim/app", bytes);
  });
  afterAll(() => target[Symbol.asyncDispose]());

  /** Whole answers to requests whose target is sent as it stands, for no client would. */
  const ask = (method: string, path: string, body = "") =>
    target.sendRaw(
      Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`, "utf8"),
    );

  it.each(names)("%s", async (name) => {
    await target.leavesNothing(async () => {
      const answers = [
        await ask("GET", `/v2/${name}/blobs/${digest}`),
        await ask("HEAD", `/v2/${name}/blobs/${digest}`),
        await ask("GET", `/v2/${name}/tags/list`),
        await ask("GET", `/v2/${name}/manifests/latest`),
        await ask("PUT", `/v2/${name}/manifests/latest`, "{}"),
        await ask("POST", `/v2/${name}/blobs/uploads/`),
        await ask("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, bytes.toString()),
        await ask("POST", `/v2/${name}/blobs/uploads/?mount=${digest}&from=victim/app`),
        await ask("DELETE", `/v2/${name}/blobs/${digest}`),
      ];
      for (const { statuses, text } of answers) {
        expect(statuses, text).toHaveLength(1);
        expect([400, 404, 405], text).toContain(statuses[0]);
        expect(text).not.toMatch(/^set-cookie/im);
        expect(text).not.toContain(bytes.toString());
      }
      const codes = new Set(answers.flatMap((answer) => answer.codes));
      for (const code of codes) expect(["NAME_INVALID", "UNSUPPORTED", "NAME_UNKNOWN", "MANIFEST_UNKNOWN"]).toContain(code);
    });
  });

  it.each(["..", "%2e%2e%2fvictim", "sha256:../../x", `sha256:${"A".repeat(64)}`, "sha256:", "x".repeat(5000), "%00"])(
    "nor %s for a digest, a tag or an upload",
    async (text) => {
      await target.leavesNothing(async () => {
        for (const [method, path] of [
          ["GET", `/v2/victim/app/blobs/${text}`],
          ["DELETE", `/v2/victim/app/blobs/${text}`],
          ["GET", `/v2/victim/app/manifests/${text}`],
          ["PUT", `/v2/victim/app/manifests/${text}`],
          ["PATCH", `/v2/victim/app/blobs/uploads/${text}`],
          ["PUT", `/v2/victim/app/blobs/uploads/${text}?digest=${digest}`],
          ["GET", `/v2/victim/app/blobs/uploads/${text}`],
        ] as const) {
          const said = await ask(method, path, method === "GET" || method === "DELETE" ? "" : "{}");
          expect([400, 404, 405], `${method} ${path}\n${said.text}`).toContain(said.statuses[0]);
          expect(said.codes).toHaveLength(1);
        }
      });
    },
  );

  it("lets nobody go on with an upload of another repository", async () => {
    const location = await target.startUpload("victim/app");
    const stolen = location.replace("victim/app", "thief/app");
    await target.leavesNothing(async () => {
      for (const method of ["GET", "PATCH", "DELETE"]) {
        const answer = await fetch(`${target.url}${stolen}`, { method, ...(method === "PATCH" ? { body: "x" } : {}) });
        expect(answer.status).toBe(404);
      }
      expect((await fetch(`${target.url}${stolen}?digest=${digest}`, { method: "PUT", body: bytes })).status).toBe(404);
    });
    expect((await fetch(`${target.url}${location}`, { method: "DELETE" })).status).toBe(204);
  });

  it("tells a stranger's blob by nothing: not by HEAD, range, mount or upload", async () => {
    const stranger = "thief/app";
    const path = `/v2/${stranger}/blobs/${digest}`;
    for (const headers of [{}, { range: "bytes=0-0" }, { "if-none-match": `"${digest}"` }] as Record<string, string>[]) {
      expect((await fetch(`${target.url}${path}`, { headers })).status).toBe(404);
      expect((await fetch(`${target.url}${path}`, { method: "HEAD", headers })).status).toBe(404);
    }
    const unnamed = await fetch(`${target.url}/v2/${stranger}/blobs/uploads/?mount=${digest}`, { method: "POST" });
    expect(unnamed.status).toBe(202);
    const wrong = await fetch(`${target.url}/v2/${stranger}/blobs/uploads/?mount=${digest}&from=nobody/app`, { method: "POST" });
    expect(wrong.status).toBe(202);
    // possession is proven with all the bytes, whoever else has them
    const empty = await fetch(`${target.url}${new URL(wrong.headers.get("location")!, target.url).pathname}?digest=${digest}`, {
      method: "PUT",
    });
    expect(empty.status).toBe(400);
    expect((await fetch(`${target.url}${path}`)).status).toBe(404);
  });
});
