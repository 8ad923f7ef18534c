/** What uploads ask before they take in more: the place of limits. */
export type Intake = {
  /** Before an upload begins, with how many the org has open, it among them. @throws DistributionError when it may not. */
  admit(openUploads: number, signal: AbortSignal): Promise<void>;
  /**
   * With each chunk: undefined when the next may come at once, else a promise of that, which slows the client. When it rejects, the upload
   * ends with that error.
   */
  take(sizeBytes: number): Promise<void> | undefined;
};

export const unlimitedIntake: Intake = { admit: async () => undefined, take: () => undefined };
