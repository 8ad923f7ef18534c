import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { resolveImageUser } from "../../../machines/image-user.ts";
import { readLayerFile } from "../../../machines/layer-file.ts";
import { MountSchema } from "../../../proto/gen/types/mount_pb.ts";

const files = {
  passwd: async () => "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\n",
  group: async () => "root:x:0:\nnode:x:1001:\ndocker:x:50:node,other\n",
};

describe("USER of an image", () => {
  test.each([
    ["", { uid: 0, gid: 0 }],
    ["1000", { uid: 1000, gid: 1001, additionalGids: [50] }],
    ["node", { uid: 1000, gid: 1001, additionalGids: [50] }],
    ["node:docker", { uid: 1000, gid: 50 }],
    ["77:88", { uid: 77, gid: 88 }],
    ["77", { uid: 77, gid: 0 }],
  ])("%j is looked up", async (user, expected) => {
    expect(await resolveImageUser(user, files)).toEqual(expected);
  });

  test.each(["4294967296", "2147483648", "-1", "0x0", "nobody", "node:nogroup", "big", "0:4294967296"])("%j is refused", async (user) => {
    await expect(resolveImageUser(user, files)).rejects.toMatchObject({ code: "USER_INVALID" });
  });
});

describe("a file of an image's layers", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), "layers-"));
    for (const layer of ["upper", "top", "base"]) await mkdir(path.join(root, layer, "etc"), { recursive: true });
  });
  afterEach(async () => await rm(root, { recursive: true, force: true }));

  const mounts = () => [
    create(MountSchema, {
      type: "overlay",
      source: "overlay",
      options: [`upperdir=${root}/upper`, `lowerdir=${root}/top:${root}/base`],
    }),
  ];

  test("comes from the topmost layer that has it", async () => {
    await writeFile(path.join(root, "base/etc/passwd"), "base");
    expect(await readLayerFile(mounts(), "/etc/passwd")).toBe("base");
    await writeFile(path.join(root, "top/etc/passwd"), "top");
    expect(await readLayerFile(mounts(), "/etc/passwd")).toBe("top");
  });

  test("that no layer has is absent", async () => {
    expect(await readLayerFile(mounts(), "/etc/group")).toBeUndefined();
  });

  test("is not read through a symbolic link, of the file or of its folder", async () => {
    await symlink("/etc/passwd", path.join(root, "base/etc/passwd"));
    await expect(readLayerFile(mounts(), "/etc/passwd")).rejects.toMatchObject({ code: "USER_INVALID" });
    await rm(path.join(root, "top/etc"), { recursive: true });
    await symlink("/etc", path.join(root, "top/etc"));
    await expect(readLayerFile(mounts(), "/etc/passwd")).rejects.toMatchObject({ code: "USER_INVALID" });
  });

  test("above 1 MiB is refused", async () => {
    await writeFile(path.join(root, "base/etc/passwd"), "");
    await truncate(path.join(root, "base/etc/passwd"), 1024 * 1024 + 1);
    await expect(readLayerFile(mounts(), "/etc/passwd")).rejects.toMatchObject({ code: "USER_INVALID" });
  });
});
