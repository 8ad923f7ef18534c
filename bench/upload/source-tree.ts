import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

export type SourceTree = {
  readonly directory: string;
  readonly sizeBytes: number;
  /** Other bytes of the same size in one file, another one each time. */
  change(): void;
};

const filesPerFolder = 100;

/** A source of so many files, about as large as each other, that no compression makes smaller. */
export function makeSourceTree(directory: string, { files, totalBytes }: { files: number; totalBytes: number }): SourceTree {
  const average = Math.floor(totalBytes / files);
  const nameOf = (index: number) => {
    const folder = Math.floor(index / filesPerFolder);
    return path.join(directory, `packages/p${folder % 20}/src/m${folder}/file${index % filesPerFolder}.ts`);
  };
  let sizeBytes = 0;
  for (let index = 0; index < files; index += 1) {
    const file = nameOf(index);
    if (index % filesPerFolder === 0) mkdirSync(path.dirname(file), { recursive: true });
    const length = average + ((index * 37) % 1001) - 500;
    writeFileSync(file, randomBytes(length));
    sizeBytes += length;
  }
  writeFileSync(path.join(directory, "Dockerfile"), "FROM scratch\nCOPY . /\n");
  let changes = 0;
  return {
    directory,
    sizeBytes,
    change() {
      changes += 1;
      writeFileSync(nameOf((changes * 7919) % files), randomBytes(average));
    },
  };
}
