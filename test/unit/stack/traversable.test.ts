import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { closedFolders } from "../../../stack/traversable.ts";

test("names every folder on the way that other users cannot pass through, the topmost first", () => {
  const top = mkdtempSync(path.join(tmpdir(), "closed-"));
  try {
    const data = path.join(top, "open", "data");
    mkdirSync(data, { recursive: true, mode: 0o711 });
    expect(closedFolders(data)).toEqual([top]);
    chmodSync(data, 0o700);
    expect(closedFolders(path.join(data, "not-there-yet"))).toEqual([top, data]);
    chmodSync(top, 0o711);
    chmodSync(data, 0o711);
    expect(closedFolders(data)).toEqual([]);
  } finally {
    rmSync(top, { recursive: true });
  }
});
