/** Runs a command's body; it decides what becomes of the exit code and of errors. */
export type Run = (options: { verbose?: boolean; output?: string }, body: () => Promise<number>) => Promise<void>;
