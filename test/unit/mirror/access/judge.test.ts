import { describe, expect, it } from "vitest";
import type { Caller } from "../../../../mirror/access/callers.ts";
import { judge, mayMount, wantOf } from "../../../../mirror/access/judge.ts";
import type { RegistryAction } from "../../../../oci/access.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { parseDistributionPath } from "../../../../oci/distribution-path.ts";
import { parseRepository } from "../../../../oci/repository.ts";

const [blob, other] = [digestOf(Buffer.from("source")), digestOf(Buffer.from("other"))];
const imageHost = "registry.test:5000";

const callers = {
  operator: { kind: "operator" },
  build: { kind: "build", scope: { org: "acme", app: "web" } },
  source: { kind: "build", scope: { org: "acme", app: "web", blob } },
  sources: { kind: "build", scope: { org: "acme", app: "web", blob: [other, blob] } },
  orgReader: deploy((repository) => (repository.startsWith("acme/") ? ["pull"] : [])),
  appPusher: deploy((repository) => (repository === "acme/web" ? ["pull", "push"] : [])),
  // what the registry says of another org is of no use on this org's socket
  stranger: deploy((repository) => (repository.startsWith("rival/") ? ["pull", "push", "delete"] : [])),
} satisfies Record<string, Caller>;

function deploy(actions: (repository: string) => readonly RegistryAction[]): Caller {
  return { kind: "deploy", actions: async (repository) => actions(repository) };
}

function ask(caller: keyof typeof callers, request: string) {
  const [method, url] = request.split(" ") as [string, string];
  const { pathname, searchParams } = new URL(url, "http://mirror");
  const ns = searchParams.get("ns");
  const target = { endpoint: parseDistributionPath(method, pathname)!, ...(ns === null ? {} : { ns }) };
  return judge("acme", callers[caller], wantOf(method, target, imageHost));
}

describe("on the socket of acme", () => {
  it.each<[keyof typeof callers, string, string]>([
    ["operator", "DELETE /v2/acme/web/manifests/v1", "allowed"],
    ["operator", "PUT /v2/acme/api/manifests/v1", "allowed"],
    ["operator", "PUT /v2/library/x/manifests/v1?ns=docker.io", "unsupported"],
    ["build", "GET /v2/", "allowed"],
    ["build", `GET /v2/acme/web/blobs/${other}`, "allowed"],
    ["build", "POST /v2/acme/web/blobs/uploads/", "allowed"],
    ["build", "DELETE /v2/acme/web/blobs/uploads/a", "allowed"],
    ["build", "PUT /v2/acme/web/manifests/v1", "allowed"],
    ["build", `PUT /v2/acme/web/manifests/v1?ns=${imageHost}`, "allowed"],
    ["build", "GET /v2/library/debian/manifests/13?ns=docker.io", "allowed"],
    ["build", "POST /v2/library/debian/blobs/uploads/?ns=docker.io", "unsupported"],
    ["build", "DELETE /v2/acme/web/manifests/v1", "unsupported"],
    ["build", `DELETE /v2/rival/web/blobs/${blob}`, "unsupported"],
    ["build", "GET /v2/acme/api/manifests/v1", "denied"],
    ["build", "GET /v2/acme/web/sub/manifests/v1", "denied"],
    ["build", "GET /v2/acme/webs/manifests/v1", "denied"],
    ["build", "GET /v2/rival/web/manifests/v1", "denied"],
    ["build", `GET /v2/rival/web/manifests/v1?ns=${imageHost}`, "denied"],
    ["build", "POST /v2/acme/api/blobs/uploads/", "denied"],
    ["source", `GET /v2/acme/web/blobs/${blob}`, "allowed"],
    ["sources", `GET /v2/acme/web/blobs/${blob}`, "allowed"],
    ["sources", `GET /v2/acme/web/blobs/${other}`, "allowed"],
    ["sources", `GET /v2/acme/web/blobs/${digestOf(Buffer.from("third"))}`, "denied"],
    ["sources", `GET /v2/acme/web/manifests/${blob}`, "denied"],
    ["sources", "GET /v2/library/debian/manifests/13?ns=docker.io", "denied"],
    ["source", `HEAD /v2/acme/web/blobs/${blob}`, "allowed"],
    ["source", `GET /v2/acme/web/blobs/${other}`, "denied"],
    ["source", `GET /v2/acme/web/manifests/${blob}`, "denied"],
    ["source", `GET /v2/acme/api/blobs/${blob}`, "denied"],
    ["source", "POST /v2/acme/web/blobs/uploads/", "denied"],
    ["source", "GET /v2/library/debian/manifests/13?ns=docker.io", "denied"],
    ["orgReader", "GET /v2/acme/api/manifests/v1", "allowed"],
    ["orgReader", "GET /v2/library/debian/manifests/13?ns=docker.io", "allowed"],
    ["orgReader", "PUT /v2/acme/api/manifests/v1", "denied"],
    ["orgReader", "DELETE /v2/acme/api/manifests/v1", "denied"],
    ["appPusher", "PUT /v2/acme/web/manifests/v1", "allowed"],
    ["appPusher", "GET /v2/acme/api/manifests/v1", "denied"],
    ["appPusher", "GET /v2/library/debian/manifests/13?ns=docker.io", "denied"],
    ["stranger", "GET /v2/rival/web/manifests/v1", "denied"],
    ["stranger", "GET /v2/acme/web/manifests/v1", "denied"],
    ["stranger", "GET /v2/library/debian/manifests/13?ns=docker.io", "denied"],
  ])("%s is, for %s, %s", async (caller, request, verdict) => {
    expect(await ask(caller, request)).toBe(verdict);
  });

  it("a blob is mounted from where the caller may pull", async () => {
    const from = async (caller: keyof typeof callers, repository: string) =>
      await mayMount("acme", callers[caller], parseRepository(repository));
    expect(await from("build", "acme/web")).toBe(true);
    expect(await from("build", "acme/api")).toBe(false);
    expect(await from("orgReader", "acme/api")).toBe(true);
    expect(await from("stranger", "rival/web")).toBe(false);
    expect(await from("source", "acme/web")).toBe(false);
  });
});
