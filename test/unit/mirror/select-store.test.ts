import { describe, expect, it } from "vitest";
import { createBlobFetches } from "../../../mirror/pull/blob-fetches.ts";
import { firstOf } from "../../../mirror/pull/readable-store.ts";
import { type StoreSources, selectStore } from "../../../mirror/serve/select-store.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseDistributionPath } from "../../../oci/distribution-path.ts";
import type { DistributionStore } from "../../../oci/store.ts";

const digest = digestOf("x");
const local = {} as DistributionStore;

function ask(method: string, path: string, ns?: string): { store: DistributionStore; asked: string[] } {
  const asked: string[] = [];
  const sources: StoreSources = {
    org: "acme",
    local,
    imageHost: "registry.test",
    upstream: (host) => {
      asked.push(`upstream ${host ?? "itself"}`);
      return firstOf([]);
    },
    publicRegistry: (host) => {
      asked.push(`public ${host}`);
      return undefined;
    },
    copies: () => ({
      manifest: async () => undefined,
      keep: async () => undefined,
      blobs: firstOf([]).blobs,
      fetched: { keep: async () => undefined, sizeOf: () => undefined, expect: () => undefined },
    }),
    fetches: createBlobFetches({ dir: "unused" }),
    fetched: {
      keep: async () => undefined,
      store: async () => undefined,
      expect: () => undefined,
      sizeOf: () => undefined,
      used: () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    },
  };
  const endpoint = parseDistributionPath(method, path)!;
  return { store: selectStore(sources, method, ns === undefined ? { endpoint } : { endpoint, ns }), asked };
}

describe("selectStore", () => {
  it.each([
    ["HEAD", `/v2/acme/web/blobs/${digest}`],
    ["HEAD", `/v2/acme/web/manifests/${digest}`],
    ["GET", `/v2/other/web/blobs/${digest}`],
    ["GET", `/v2/acme/blobs/${digest}`],
    ["GET", "/v2/"],
  ])("answers %s %s from this host alone", (method, path) => {
    expect(ask(method, path)).toEqual({ store: local, asked: [] });
  });

  it.each([
    ["GET", `/v2/acme/web/blobs/${digest}`],
    ["GET", `/v2/acme/web/manifests/${digest}`],
    ["HEAD", "/v2/acme/web/manifests/v1"],
  ])("lets upstream answer %s %s too", (method, path) => {
    expect(ask(method, path).asked).toEqual(["upstream itself"]);
  });

  it("takes the image host's own name for no other registry", () => {
    expect(ask("HEAD", `/v2/acme/web/blobs/${digest}`, "registry.test").store).toBe(local);
  });

  it("asks upstream's copies and then the registry itself on behalf of another", () => {
    expect(ask("GET", "/v2/library/debian/manifests/12", "docker.io").asked).toEqual(["upstream docker.io", "public docker.io"]);
  });

  it.each(["other", "other/web", "localhost:5000", "a.test/other"])("asks upstream for no copies of %s", (ns) => {
    expect(ask("GET", "/v2/web/manifests/v1", ns).asked).toEqual([`public ${ns}`]);
  });
});
