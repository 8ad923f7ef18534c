import { expect, test } from "vitest";
import { mountPointsBelow } from "../../../stack/mounts.ts";

const mountinfo = [
  "22 1 0:21 / / rw - ext4 /dev/sda1 rw",
  "30 22 0:30 / /data rw - tmpfs tmpfs rw",
  "31 30 0:31 / /data/with\\040space rw - overlay overlay rw",
  "32 22 0:32 / /database rw - tmpfs tmpfs rw",
  "",
].join("\n");

test("mounts below a folder come deepest first, and neighbours with a like name stay out", () => {
  expect(mountPointsBelow(mountinfo, "/data")).toEqual(["/data/with space", "/data"]);
});

test("a folder without mounts has none", () => {
  expect(mountPointsBelow(mountinfo, "/var")).toEqual([]);
});
