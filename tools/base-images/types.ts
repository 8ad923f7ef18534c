/** Where a recipe works: everything under `workDir` is thrown away afterwards. */
export type RecipeContext = {
  readonly workDir: string;
  /** PEM text the image trusts, the distribution's own CAs included; absent: the distribution's own alone */
  readonly caBundle: string | undefined;
  readonly signal: AbortSignal;
};

/** One layer. `inputs` names all that decides its bytes, so that an equal one need not be made again. */
export type LayerRecipe = {
  readonly title: string;
  readonly inputs: unknown;
  /** Writes an uncompressed tar with fixed order, owner and times to `file`. */
  readonly writeTar: (file: string, context: RecipeContext) => Promise<void>;
};

export type BaseImageRecipe = {
  /** `busybox`: what the command line calls it */
  readonly name: string;
  /** under docker.io/library, so that ordinary Dockerfiles find it */
  readonly repository: string;
  readonly tags: readonly string[];
  readonly layers: readonly LayerRecipe[];
  readonly config: {
    readonly Env: readonly string[];
    readonly Cmd: readonly string[];
    readonly WorkingDir?: string;
  };
};

export const caInImage = "/etc/ssl/certs/ca-certificates.crt";
