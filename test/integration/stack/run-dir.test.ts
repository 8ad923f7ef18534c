import { existsSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { up } from "../../../stack/up.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";

test("a run folder in which sockets would not fit is refused before anything is made", async () => {
  const dir = await makeOwnedDir();
  const [dataDir, runDir] = [path.join(dir, "data"), path.join(dir, "run".repeat(10))];
  try {
    const refused = up({ dataDir, runDir, ports: "any" }, () => undefined, AbortSignal.timeout(60_000));
    await expect(refused).rejects.toThrow(
      /Cannot use ".*" as run folder: its path is \d+ bytes long, expected at most 42, .*buildkitd\.sock/,
    );
    expect(existsSync(runDir)).toBe(false);
    expect(existsSync(path.join(dataDir, "settings.json"))).toBe(false);
  } finally {
    await removeOwnedDir(dir);
  }
});
