import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { followFile, linesOf } from "../../../machines/logs/follow.ts";
import { rotateLog } from "../../../machines/logs/rotate.ts";
import { readTail } from "../../../machines/logs/tail.ts";

describe("a machine's log", () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "logs-"));
    file = path.join(dir, "m.log");
  });
  afterEach(async () => await rm(dir, { recursive: true, force: true }));

  test("is read from its end", async () => {
    await writeFile(file, "one\ntwo\n\u001b[1mthree\u001b[0m\n");
    expect((await readTail(file, 2)).lines).toEqual(["two", "three"]);
    expect((await readTail(file, 0)).lines).toEqual([]);
    expect((await readTail(`${file}.none`, 5)).lines).toEqual([]);
  });

  test("is cut when it is too long, keeping three older files, and is still read as one", async () => {
    for (const text of ["first\n", "second\n", "third\n", "fourth\n", "fifth\n"]) {
      await appendFile(file, text);
      expect(await rotateLog(file, { maxBytes: 3, keep: 3 })).toBe(true);
    }
    expect((await stat(file)).size).toBe(0);
    expect(await readFile(`${file}.1`, "utf8")).toBe("fifth\n");
    expect(await readFile(`${file}.3`, "utf8")).toBe("third\n");
    await expect(stat(`${file}.4`)).rejects.toThrow(/ENOENT/);
    await appendFile(file, "6\n");
    expect((await readTail(file, 2)).lines).toEqual(["fifth", "6"]);
  });

  test("within its limit is left alone", async () => {
    await writeFile(file, "abc");
    expect(await rotateLog(file, { maxBytes: 3, keep: 3 })).toBe(false);
  });

  test("is followed over a cut, and from before it exists", async () => {
    const signal = AbortSignal.timeout(5000);
    const lines = linesOf(followFile(file, { from: 0, follow: true, signal }), 1024);
    const first = lines.next();
    await writeFile(file, "before\nhalf");
    expect((await first).value).toBe("before");
    const second = lines.next();
    await appendFile(file, " and half\n");
    expect((await second).value).toBe("half and half");
    const third = lines.next();
    await writeFile(file, "new\n");
    expect((await third).value).toBe("new");
    await lines.return(undefined);
  });
});
