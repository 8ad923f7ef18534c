/** As `Promise.all`, but nothing is still under way when it rejects. */
export async function allDone<const T extends readonly unknown[]>(work: T): Promise<{ -readonly [Key in keyof T]: Awaited<T[Key]> }> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}
