// npm's `prepare`: generates the gRPC types when the packages are installed, so that the first command finds them. Where it cannot (no
// Go, no development dependencies), installing goes on: the first command that needs the types generates them, or says what is missing.
// Plain JavaScript, as the Node that runs TypeScript is one of the packages.
if (process.features.typescript) await import("./main.ts");
else console.error(`Node ${process.version} runs no TypeScript, and the development dependencies, which bring one that does, are missing`);

if (process.exitCode !== undefined || !process.features.typescript) {
  console.error("The gRPC types are left out for now; slipway up or npm run generate make them.");
  process.exitCode = 0;
}
