import { defineConfig } from "vitest/config";

const onDaemons = {
  globalSetup: "test/support/global-setup.ts",
  pool: "forks",
  fileParallelism: false,
  testTimeout: 120_000,
  hookTimeout: 300_000,
} as const;

export default defineConfig({
  test: {
    projects: [
      {
        test: { name: "unit", include: ["test/unit/**/*.test.ts"], pool: "threads", testTimeout: 10_000 },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          exclude: ["builder", "registry", "mirror", "containerd", "stack", "tools"].map((folder) => `test/integration/${folder}/**`),
          ...onDaemons,
        },
      },
      {
        // a host of its own
        test: { name: "builder", include: ["test/integration/builder/**/*.test.ts"], ...onDaemons },
      },
      {
        // instances of its own; and the set-up that they need
        test: {
          name: "stack",
          include: ["test/integration/stack/**/*.test.ts", "test/integration/tools/**/*.test.ts"],
          ...onDaemons,
        },
      },
      {
        // touches ports and buckets of its own only, so that it may run beside those of "integration"
        test: {
          name: "registry",
          include: ["test/integration/registry/**/*.test.ts"],
          ...onDaemons,
        },
      },
      {
        // containerds, ports and networks of its own, too
        test: {
          name: "mirror",
          include: ["test/integration/mirror/**/*.test.ts", "test/integration/containerd/**/*.test.ts"],
          ...onDaemons,
        },
      },
      {
        // what the mirror asks of containerd, once more on an older one
        test: {
          name: "containerd-1.7",
          include: ["test/integration/containerd/*.test.ts", "test/integration/mirror/{conformance,disk-full,kill,manifests,push}.test.ts"],
          ...onDaemons,
          globalSetup: "test/support/global-setup-containerd-1.7.ts",
        },
      },
      {
        test: {
          name: "long",
          include: ["test/long/**/*.test.ts"],
          ...onDaemons,
          testTimeout: 900_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
