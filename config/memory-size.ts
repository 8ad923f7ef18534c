const shape = /^(\d+(?:\.\d+)?)\s*(mb|mib|m|gb|gib|g)?$/i;

/** Memory as fly.toml has it ("512mb", "1gb", 512), in MiB. Undefined when it is not. */
export function parseMemoryMb(value: string | number): number | undefined {
  const match = shape.exec(String(value).trim());
  if (match === null) return undefined;
  const factor = (match[2] ?? "mb").toLowerCase().startsWith("g") ? 1024 : 1;
  const memoryMb = Math.round(Number(match[1]) * factor);
  return memoryMb > 0 ? memoryMb : undefined;
}
